# mypy: disable-error-code="valid-type"
"""What a scene remembers: the prompt and the options, at `bpy.context.scene.meshgpt`."""

import random

import bpy

HIGHEST_SEED = 2**31 - 1


def keep_seed(settings: "MeshGPTSettings", _context: bpy.types.Context) -> None:
    settings.random_seed = False


class MeshGPTSettings(bpy.types.PropertyGroup):
    """The prompt and the options of one scene. A zero in guidance and in what follows it leaves the choice to the model."""

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

    def next_seed(self) -> int:
        """The seed of the next mesh; a new one is drawn, and shown, if the seed is random."""
        if self.random_seed:
            self.seed = random.randint(0, HIGHEST_SEED)
            self.random_seed = True
        return int(self.seed)

    def sampling(self) -> dict[str, int | float | None]:
        """The options of a request to the worker."""
        return {
            "variants": self.variants,
            "seed": self.next_seed(),
            "guidance_scale": round(self.guidance, 4) or None,
            "temperature": round(self.temperature, 4) or None,
            "max_faces": self.max_faces or None,
            "candidates": self.candidates or None,
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
