"""The models of Triton's Python backend: an engine behind named tensors.

This module runs inside Triton, in one process for each instance of a model; only there is
``triton_python_backend_utils`` to be had. The files ``model_repository/*/1/model.py`` name its classes.
"""

import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]
from threadpoolctl import threadpool_limits

from maquette.errors import Cancelled, InputError, MaquetteError, MessageInvalid, ModelFileInvalid, ServiceMismatch
from maquette.rooms import PhotoView
from maquette.types import Head
from services.reconstructor.dlpack import Lent
from services.reconstructor.engines.registry import ENGINES
from services.reconstructor.packing import ViewsHeader, head_to_tensors, tensors_to_head, tensors_to_views
from services.reconstructor.refusals import to_line, trace_of
from services.reconstructor.rehearsal import is_rehearsal, rehearse
from services.reconstructor.tensors import COARSE_HEAD, COMPLETE, FORMAT, HEAD, VIEWS, Array, Tensor

TRACE_HEADER = "traceparent"


class EngineModel(ABC):
    """What Triton calls; a subclass says what is made."""

    inputs: ClassVar[Mapping[str, Tensor]]

    def initialize(self, args: Mapping[str, str]) -> None:
        """Read the engine; Triton does not count as ready before.

        Args:
            args: ``model_config`` is the configuration as JSON, ``model_name`` the model's name.

        Raises:
            ModelFileInvalid: The configuration is not what this code was written for, or the engine's files are not.
        """
        config = json.loads(args["model_config"])
        _require_config(config, self.inputs)
        self._name = args["model_name"]
        self._engine_name = _parameter(config, "engine")
        if self._engine_name not in ENGINES:
            known = ", ".join(ENGINES)
            raise ModelFileInvalid(f"expected parameter engine to be one of {known}, found {self._engine_name}")
        # As in one process: sums of several threads come out in another order, and their last bits differ.
        self._limits = threadpool_limits(limits=1, user_api="blas")
        self._engine = ENGINES[self._engine_name].make()

    def execute(self, requests: Sequence[Any]) -> None:
        """Answer the requests that Triton joined into one batch, each as soon as it is done.

        They run one after the other: a fit is many small steps that hold the interpreter, so that threads would gain
        nothing, and arrays of several people in one product would change the last bits of their results. More
        instances of the model are what runs side by side.
        """
        for request in requests:
            start = time.perf_counter()
            response, code = self._answer(request)
            request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            self._log(request, len(requests), code, time.perf_counter() - start)

    @abstractmethod
    def make(self, tensors: Mapping[str, Array]) -> Head:
        """One answer."""

    @abstractmethod
    def rehearse(self) -> Head:
        """Go once through all that a request goes through, on a photo that is drawn here."""

    def _answer(self, request: Any) -> tuple[Any, str]:
        rehearsal = False
        try:
            if request.is_cancelled():
                raise Cancelled("the work was given up: its caller does not wait for it any more")
            tensors = {n: _read(request, n) for n in self.inputs}
            rehearsal = is_rehearsal(tensors["views_header"])
            head = self.rehearse() if rehearsal else self.make(tensors)
            outputs = [
                pb_utils.Tensor.from_dlpack(name, Lent(array[None])) for name, array in head_to_tensors(head).items()
            ]
            return pb_utils.InferenceResponse(output_tensors=outputs), "ok"
        except Exception as error:
            if rehearsal:
                # Triton ends for it, without saying why.
                pb_utils.Logger.log_error(f"{self._name}: the rehearsal failed: {to_line(error)} {trace_of(error)}")
            elif not isinstance(error, InputError | Cancelled | ServiceMismatch):
                pb_utils.Logger.log_error(f"{self._name}: {trace_of(error)}")
            code = error.code if isinstance(error, MaquetteError) else MaquetteError.code
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(to_line(error), _status(error))), code

    def _log(self, request: Any, batch: int, code: str, seconds: float) -> None:
        """Say what was done for a caller that traces; nothing about whom."""
        trace = json.loads(request.parameters() or "{}").get(TRACE_HEADER)
        if trace is not None:
            pb_utils.Logger.log_info(
                f"{self._name}: {code} in {seconds:.3f} s, batch of {batch}, pid {os.getpid()}, trace {trace}"
            )


class CoarseModel(EngineModel):
    """Photos to the shape of a head."""

    inputs: ClassVar[Mapping[str, Tensor]] = VIEWS

    def make(self, tensors: Mapping[str, Array]) -> Head:
        """Fit one person."""
        header, views = self._views(tensors)
        return self._engine.coarse(views, header.options)

    def rehearse(self) -> Head:
        """Fit a head that is drawn here."""
        return rehearse(self._engine, self._engine_name, complete=False)

    def _views(self, tensors: Mapping[str, Array]) -> tuple[ViewsHeader, tuple[PhotoView, ...]]:
        header, views = tensors_to_views({n: tensors[n] for n in VIEWS})
        if header.engine != self._engine_name:
            raise ServiceMismatch(
                f"expected a request for the engine {self._engine_name}, found one for {header.engine[:40]}",
                expected=self._engine_name,
                found=header.engine[:40],
            )
        return header, views


class CompleteModel(CoarseModel):
    """Photos and the shape of a head to the whole head."""

    inputs: ClassVar[Mapping[str, Tensor]] = COMPLETE

    def make(self, tensors: Mapping[str, Array]) -> Head:
        """Add textures, detail and hair to one person's head."""
        header, views = self._views(tensors)
        coarse = tensors_to_head({n: tensors[n] for n in COARSE_HEAD})
        return self._engine.complete(views, coarse, header.options)

    def rehearse(self) -> Head:
        """Make the whole of a head that is drawn here."""
        return rehearse(self._engine, self._engine_name, complete=True)


def _read(request: Any, name: str) -> Array:
    """An input without its batch dimension, in Triton's own memory, which lasts as long as the request."""
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    if tensor is None:
        raise MessageInvalid(f"expected tensor {name}, found none", field=name)
    array = np.from_dlpack(tensor)
    if len(array) != 1:
        raise MessageInvalid(f"expected tensor {name} of one person, found {len(array)}", field=name)
    return np.asarray(array[0])


def _require_config(config: Mapping[str, Any], inputs: Mapping[str, Tensor]) -> None:
    """Check that a configuration declares exactly the tensors of this code."""
    found_format = _parameter(config, "format")
    if found_format != FORMAT:
        raise ModelFileInvalid(f"expected {config['name']} to be of format {FORMAT}, found {found_format}")
    for kind, tensors in (("input", inputs), ("output", HEAD)):
        wanted = {n: (f"TYPE_{t.datatype}", t.dims) for n, t in tensors.items()}
        found = {t["name"]: (t["data_type"], list(map(int, t["dims"]))) for t in config[kind]}
        if found != wanted:
            names = [n for n in {**wanted, **found} if wanted.get(n) != found.get(n)]
            raise ModelFileInvalid(
                f"expected {kind} {names[0]} of {config['name']} to be {wanted.get(names[0])}, "
                f"found {found.get(names[0])}"
            )


def _parameter(config: Mapping[str, Any], name: str) -> str:
    return str(config.get("parameters", {}).get(name, {}).get("string_value", ""))


def _status(error: Exception) -> Any:
    match error:
        case InputError() | MessageInvalid():
            return pb_utils.TritonError.INVALID_ARG
        case Cancelled():
            return pb_utils.TritonError.CANCELLED
        case ServiceMismatch():
            return pb_utils.TritonError.UNSUPPORTED
        case _:
            return pb_utils.TritonError.INTERNAL
