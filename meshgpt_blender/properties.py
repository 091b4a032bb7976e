# mypy: disable-error-code="valid-type"
"""What a scene remembers: the prompt and the options, at `bpy.context.scene.meshgpt`."""

import random
from typing import Any

import bpy

HIGHEST_SEED = 2**31 - 1
POLYGONS = (
    ("ANY", "Any", "Leave it to the prompt"),
    ("TRIANGLES", "Triangles", "Triangles alone"),
    ("QUADS", "Quads", "Quads, with triangles where they are needed"),
)


def keep_seed(settings: "MeshGPTSettings", _context: bpy.types.Context) -> None:
    settings.random_seed = False


def is_mesh(_settings: "MeshGPTSettings", obj: bpy.types.Object) -> bool:
    return obj.type == "MESH"


class MeshGPTSettings(bpy.types.PropertyGroup):
    """The prompt and the options of one scene. A zero leaves the choice to the model, but for the seed."""

    prompt: bpy.props.StringProperty(
        name="Prompt",
        description="What to make, in a few words. For Autocomplete: what the unfinished mesh should become; may be empty",
        maxlen=1000,
        options={"TEXTEDIT_UPDATE"},
    )
    variants: bpy.props.IntProperty(
        name="Variants", description="How many meshes to make at once, placed side by side", default=1, min=1, max=64, soft_max=8
    )
    seed: bpy.props.IntProperty(
        name="Seed",
        description="The same seed, prompt and options make the same mesh. Setting it turns Random Seed off",
        min=0,
        max=HIGHEST_SEED,
        update=keep_seed,
    )
    random_seed: bpy.props.BoolProperty(name="Random Seed", description="Draw a new seed every time", default=True)
    size: bpy.props.FloatProperty(
        name="Size",
        description="Length of the longest side of a generated mesh",
        default=2.0,
        min=0.001,
        soft_min=0.1,
        soft_max=100.0,
        unit="LENGTH",
    )
    guidance: bpy.props.FloatProperty(
        name="Guidance", description="How closely to follow the prompt; 0 leaves it to the model", min=0.0, soft_max=10.0, max=100.0
    )
    temperature: bpy.props.FloatProperty(
        name="Temperature", description="Low is careful, high is adventurous; 0 leaves it to the model", min=0.0, max=2.0
    )
    max_faces: bpy.props.IntProperty(
        name="Max Faces", description="Stop a mesh at this many faces; 0 leaves it to the model", min=0, soft_max=1000
    )
    candidates: bpy.props.IntProperty(
        name="Best of",
        description="How many candidates of each mesh to make; the one that suits the prompt best is kept. 0 leaves it to the model",
        min=0,
        max=64,
        soft_max=16,
    )
    faces: bpy.props.IntProperty(
        name="Faces", description="About how many faces the whole mesh should have; 0 for any number", min=0, max=100_000, soft_max=500
    )
    use_extents: bpy.props.BoolProperty(name="Proportions", description="Say how wide, deep and high the whole mesh should be")
    extents: bpy.props.FloatVectorProperty(
        name="Proportions",
        description="Width, depth and height of the whole mesh. Only how they compare counts",
        default=(1.0, 1.0, 1.0),
        min=0.0,
        soft_max=10.0,
        subtype="XYZ",
    )
    polygons: bpy.props.EnumProperty(name="Polygons", description="What the faces should be", items=POLYGONS)
    bounds: bpy.props.PointerProperty(
        name="Bounds",
        description="For Autocomplete: an object whose box the completed mesh should fill. Without one the model finds place and size",
        type=bpy.types.Object,
        poll=is_mesh,
    )

    def next_seed(self) -> int:
        """The seed of the next mesh; a new one is drawn, and shown, if the seed is random."""
        if self.random_seed:
            self.seed = random.randint(0, HIGHEST_SEED)
            self.random_seed = True
        return int(self.seed)

    def properties(self) -> dict[str, int | str | list[float] | None]:
        """What the whole mesh should be beside what the prompt says, None where it may be anything."""
        return {
            "faces": self.faces or None,
            "extents": [round(size, 4) for size in self.extents] if self.use_extents else None,
            "polygons": None if self.polygons == "ANY" else self.polygons.lower(),
        }

    def sampling(self) -> dict[str, Any]:
        """The options of a request to the worker."""
        return {
            "variants": self.variants,
            "seed": self.next_seed(),
            "guidance_scale": round(self.guidance, 4) or None,
            "temperature": round(self.temperature, 4) or None,
            "max_faces": self.max_faces or None,
            "candidates": self.candidates or None,
            "properties": self.properties(),
        }


def settings_of(scene: bpy.types.Scene) -> MeshGPTSettings:
    """The prompt and the options of a scene: `scene.meshgpt`, with its type."""
    return scene.meshgpt  # type: ignore[attr-defined]  # it is there since register()


def register() -> None:
    bpy.utils.register_class(MeshGPTSettings)
    settings = bpy.props.PointerProperty(type=MeshGPTSettings, name="MeshGPT")  # type: ignore[func-returns-value]  # the stubs have no result
    bpy.types.Scene.meshgpt = settings  # type: ignore[attr-defined]  # how Blender lets types grow


def unregister() -> None:
    del bpy.types.Scene.meshgpt  # type: ignore[attr-defined]
    bpy.utils.unregister_class(MeshGPTSettings)
