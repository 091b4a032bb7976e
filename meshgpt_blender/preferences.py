# mypy: disable-error-code="valid-type"
"""The add-on's preferences: which Python and which model the worker runs, and the worker's state."""

import bpy

from . import panels, runtime


class MeshGPTPreferences(bpy.types.AddonPreferences):
    """Where the worker's Python and model are. A change holds from the next mesh on: a worker that runs otherwise is replaced then."""

    bl_idname = __package__

    python: bpy.props.StringProperty(
        name="Python",
        description="A Python program that has the model's packages, such as bin/python of an environment. Empty: Blender's own",
        subtype="FILE_PATH",
    )
    model: bpy.props.StringProperty(
        name="Model",
        description="A folder with config.json and the model's weights. Empty: the one that came with the add-on",
        subtype="DIR_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="What the model runs on",
        items=[
            ("auto", "Automatic", "The graphics card if there is one that can, else the processor"),
            ("cpu", "Processor", "Works everywhere"),
            ("cuda", "NVIDIA", "An NVIDIA card"),
            ("mps", "Apple", "An Apple chip"),
        ],
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "python", placeholder="Blender's own")
        layout.prop(self, "model", placeholder="The one that came with the add-on")
        layout.prop(self, "device")
        box = layout.box()
        panels.draw_text(box, context, runtime.status())
        row = box.row()
        row.operator("meshgpt.start_worker", icon="PLAY")
        row.operator("meshgpt.stop_worker", icon="PAUSE")
        row.operator("meshgpt.open_log", icon="TEXT")


def register() -> None:
    bpy.utils.register_class(MeshGPTPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(MeshGPTPreferences)
