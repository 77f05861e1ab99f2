"""An ONNX graph's convolutions and products in 8-bit integers, by onnxruntime's own tools.

Static: maps and weights are rounded to steps that calibration images fix (Jacob et al. 2018,
arXiv:1712.05877), written as QuantizeLinear and DequantizeLinear around the operations, weights
channel by channel. Dynamic: weights are rounded now, maps at each run by their own range.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segkit.errors import ModelFileError
from segkit.export.onnx_graph import reason, silent
from segkit.inference.onnx_file import INPUT

Method = Literal["dynamic", "static"]


def quantize(
    file: Path, target: Path, method: Method, images_BCHW: Iterable[NDArray[np.float32]]
) -> None:
    """Writes the graph of `file` in 8 bits as `target`, with the same metadata.

    images_BCHW   what the graph takes, for `static` to find the range of every map; unused else

    Raises ModelFileError SK-M008 where onnxruntime cannot quantise the graph.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    try:
        with silent(), TemporaryDirectory() as folder:
            prepared = Path(folder) / "prepared.onnx"
            # Folds norms into convolutions, whose weights are then rounded as they will be used.
            quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
            if method == "dynamic":
                # The CPU multiplies maps of 8 bits with unsigned weights only.
                quantize_dynamic(prepared, target, weight_type=QuantType.QUInt8)
            else:
                quantize_static(
                    prepared,
                    target,
                    _reader(images_BCHW),
                    quant_format=QuantFormat.QDQ,
                    per_channel=True,
                    # 7 bits of weights: sums of 8 overflow on processors without VNNI, which would
                    # give other labels than here.
                    reduce_range=True,
                    activation_type=QuantType.QUInt8,
                    weight_type=QuantType.QInt8,
                    nodes_to_exclude=_softmaxes(prepared),
                )
    # onnx and onnxruntime raise errors of a dozen classes here.
    except Exception as error:
        raise ModelFileError(
            "SK-M008",
            f"onnxruntime cannot write this network in 8 bits ({reason(error)}).",
            "Leave --int8 out, or try the other of its two methods.",
        ) from error


def _softmaxes(file: Path) -> list[str]:
    """Steps that stay in float32: probabilities in steps of 1/255 do not add up to 1."""
    import onnx

    nodes = onnx.load(file).graph.node
    return [node.name for node in nodes if node.op_type in ("Softmax", "LogSoftmax")]


def _reader(images_BCHW: Iterable[NDArray[np.float32]]) -> object:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            self.waiting = iter(images_BCHW)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            image_BCHW = next(self.waiting, None)
            return None if image_BCHW is None else {INPUT: image_BCHW}

    return Reader()
