"""Running one TensorFlow Lite network on one thread."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from maquette.types import Float32, UInt8
from services.detector.silence import silenced


class Network:
    """A network on the LiteRT runtime.

    One instance serves one thread: inputs and outputs live in the interpreter.

    Attributes:
        side: Height and width of the first input.
    """

    def __init__(self, model: bytes) -> None:
        """Load a network.

        Args:
            model: Contents of a tflite file whose digest has been checked (the runtime trusts what it reads).
        """
        # The interpreter refers to the buffer without owning it.
        self._model = model
        # The runtime's C++ side greets each process.
        with silenced():
            self._interpreter = Interpreter(model_content=model, num_threads=1)
            self._interpreter.allocate_tensors()
        self._inputs = [int(d["index"]) for d in self._interpreter.get_input_details()]
        self._outputs = [int(d["index"]) for d in self._interpreter.get_output_details()]
        self.side = int(self._interpreter.get_input_details()[0]["shape"][1])

    def __call__(self, *inputs: Float32) -> list[Float32]:
        """Run the network on one sample.

        Args:
            inputs: float32 arrays without the batch axis, in the network's order.

        Returns:
            Its outputs, in its order, without the batch axis; each is a copy.
        """
        for index, value in zip(self._inputs, inputs, strict=True):
            self._interpreter.set_tensor(index, value[None])
        self._interpreter.invoke()
        return [np.asarray(self._interpreter.get_tensor(index)[0], np.float32) for index in self._outputs]


def unit_range(crop: UInt8) -> Float32:
    """Scale 8-bit values to 0..1, as the mesh and mask networks take them."""
    return np.asarray(crop, np.float32) * np.float32(1 / 255)


def signed_range(crop: UInt8) -> Float32:
    """Scale 8-bit values to -1..1, as the detection networks take them."""
    return np.asarray(crop, np.float32) * np.float32(1 / 127.5) - np.float32(1)


def sigmoid(logits: Float32) -> Float32:
    """Logistic function that does not overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)
