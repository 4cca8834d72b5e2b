"""Cutting the attention network into two networks that the LiteRT runtime can run.

``face_landmark_with_attention.tflite`` holds three custom operations that only mediapipe's own runtime knows. They sit
in two layers: regions of interest are cut out of a feature map, and the points found in them are carried back. So the
graph before them (the trunk) and the graph between them (the heads) are plain networks; ``services.detector.attention``
does in numpy what lies between.
"""

from collections.abc import Sequence
from typing import Any

from maquette.errors import ModelFileInvalid
from services.detector.topology import ATTENTION_LEFT_EYE, ATTENTION_LIPS, ATTENTION_RIGHT_EYE


def cut_attention(model: bytes) -> tuple[bytes, bytes]:
    """Cut the attention network.

    Args:
        model: The flatbuffer of ``face_landmark_with_attention.tflite``.

    Returns:
        The trunk: (1, 192, 192, 3) picture in 0..1 → (1, 1, 1, 1404) mesh in crop pixels, (1, 48, 48, 32) feature map,
        (1, 1, 1, 1) logit of there being a face. The heads: three (1, 16, 16, 32) cuts of the map (lips, the eye on the
        left of the picture, the eye on its right) → (1, 80, 2) lips, (1, 71, 2) eye, (1, 5, 2) iris, (1, 71, 2) eye,
        (1, 5, 2) iris.

    Raises:
        ModelFileInvalid: The network is not built as expected.
    """
    # Imported here because the schema takes longer to import than everything else the detector needs, and is used once.
    from flatbuffers import flexbuffers

    graph = _Graph(model)
    regions = graph.custom(b"Landmarks2TransformMatrix")
    cuts, backs = graph.custom(b"TransformTensorBilinear"), graph.custom(b"TransformLandmarks")
    if (len(regions), len(cuts), len(backs), len(graph.outputs)) != (3, 3, 5, 7):
        raise ModelFileInvalid(
            "expected 3 regions, 3 cuts, 5 ways back and 7 outputs in the attention network, found "
            f"{len(regions)}, {len(cuts)}, {len(backs)}, {len(graph.outputs)}"
        )
    subsets = [tuple(flexbuffers.Loads(bytes(o.customOptions))["subset_idxs"]) for o in regions]
    if subsets != [ATTENTION_LIPS, ATTENTION_RIGHT_EYE, ATTENTION_LEFT_EYE]:
        raise ModelFileInvalid("the attention network's lists of landmarks are not the expected ones")
    trunk = graph.part(graph.inputs, [graph.outputs[0], int(cuts[0].inputs[0]), graph.outputs[6]])
    heads = graph.part([int(o.outputs[0]) for o in cuts], [int(o.inputs[0]) for o in backs])
    return trunk, heads


class _Graph:
    """A TensorFlow Lite model with one graph.

    Attributes:
        inputs: Tensors that the graph takes.
        outputs: Tensors that it gives.
    """

    def __init__(self, model: bytes) -> None:
        self._bytes = model
        self._model = self._load()
        graph = self._model.subgraphs[0]
        self.inputs = [int(t) for t in graph.inputs]
        self.outputs = [int(t) for t in graph.outputs]

    def _load(self) -> Any:
        from ai_edge_litert import schema_py_generated as schema

        return schema.ModelT.InitFromObj(schema.Model.GetRootAs(self._bytes, 0))

    def custom(self, name: bytes) -> list[Any]:
        """Operators of a custom operation, in the order of execution."""
        codes = self._model.operatorCodes
        return [o for o in self._model.subgraphs[0].operators if codes[o.opcodeIndex].customCode == name]

    def part(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The part of the graph that leads from some tensors to others, as a model with only what it needs."""
        from flatbuffers import Builder

        # A fresh copy, for it is cut to pieces.
        model = self._load()
        graph = model.subgraphs[0]
        maker = {int(t): k for k, o in enumerate(graph.operators) for t in o.outputs}
        needed: set[int] = set()
        open_tensors = list(outputs)
        while open_tensors:
            tensor = open_tensors.pop()
            operator = maker.get(tensor)
            if tensor in inputs or operator is None or operator in needed:
                continue
            needed.add(operator)
            open_tensors += [int(t) for t in graph.operators[operator].inputs if t >= 0]
        graph.operators = [o for k, o in enumerate(graph.operators) if k in needed]

        kept = {int(t) for o in graph.operators for t in (*o.inputs, *o.outputs) if t >= 0} | set(inputs)
        tensors = sorted(kept)
        # Index -1 stands for an optional input that is left out.
        renamed = {-1: -1, **{t: k for k, t in enumerate(tensors)}}
        codes = sorted({int(o.opcodeIndex) for o in graph.operators})
        graph.tensors = [graph.tensors[t] for t in tensors]
        # By the format's rule buffer 0 is empty and stands for "no data".
        buffers = sorted({0, *(int(t.buffer) for t in graph.tensors)})
        for operator in graph.operators:
            operator.inputs = [renamed[int(t)] for t in operator.inputs]
            operator.outputs = [renamed[int(t)] for t in operator.outputs]
            operator.opcodeIndex = codes.index(int(operator.opcodeIndex))
        for tensor in graph.tensors:
            tensor.buffer = buffers.index(int(tensor.buffer))
        graph.inputs = [renamed[t] for t in inputs]
        graph.outputs = [renamed[t] for t in outputs]
        model.operatorCodes = [model.operatorCodes[c] for c in codes]
        model.buffers = [model.buffers[b] for b in buffers]
        model.metadata = model.metadataBuffer = model.signatureDefs = None
        builder = Builder(1 << 20)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
