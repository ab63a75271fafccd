"""The laws that can be fitted to a table of one's own, besides the surface: what each reads, and where it is sought.

A form says its law in coordinates that hardly depend on each other: heights at the typical run in place of factors of
powers, logarithms of what is positive. The boxes follow from the data and are wide; a parameter that ends at an edge
is not determined by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np

from ..laws import Chinchilla
from ..laws.annealing import Annealing
from ..laws.curves import Broken, Implicit, Levelled, Offset, Power, Shifted
from ..laws.overtrained import ErrorOfLoss, Overtrained
from ..laws.precision import Quantised, TrainedInBits
from ..laws.repeats import DataConstrained
from ..laws.routed import Routed
from ..laws.transfer import LossToLoss, Transfer
from ..laws.translation import EncoderDecoder, ScoreOfLoss

Inputs = dict[str, np.ndarray]
Box = dict[str, tuple[float, float]]
EXPONENT = (0.005, 3.0)


@dataclass(frozen=True)
class Form:
    """A law as `fit --law NAME` knows it.

    inputs: columns, name → what it holds; output: the column that the law predicts, and what it holds. formula, source:
    for people. box(inputs, y): coordinate → its range. build(coordinates, inputs, y): the law. size(inputs): by which rows
    count as large, [n]; by default the first input. signed: inputs that may be nought or below. fixed: parameters of the
    law that are not fitted.
    """

    name: str
    formula: str
    source: str
    inputs: dict[str, str]
    output: str
    meaning: str
    box: Callable[[Inputs, np.ndarray], Box]
    build: Callable[[dict, Inputs, np.ndarray], Any]
    size: Callable[[Inputs], np.ndarray] | None = None
    signed: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()

    def large(self, inputs: Inputs) -> np.ndarray:
        """By which rows count as large [n]."""
        return self.size(inputs) if self.size else inputs[next(iter(self.inputs))]

    def parameters(self, law) -> dict[str, float]:
        """A law's fitted parameters by name, those of a law within it too, breaks numbered."""
        found: dict[str, float] = {}
        for name, value in asdict(law).items():
            if isinstance(value, dict):
                found |= value
            elif isinstance(value, tuple):
                found |= {f"{name}{i}": v for i, v in enumerate(value, 1)}
            else:
                found[name] = value
        return {name: float(value) for name, value in found.items() if name not in self.fixed}


def rebuilt(law: Any, parameters: dict[str, Any]) -> Any:
    """A law of the same kind with other parameters, by name as `Form.parameters` gives them; what is not named stays."""
    found: dict[str, Any] = {}
    for name, value in vars(law).items():
        if is_dataclass(value):
            found[name] = rebuilt(value, parameters)
        elif isinstance(value, tuple):
            found[name] = tuple(parameters[f"{name}{i}"] for i in range(1, len(value) + 1))
        else:
            found[name] = parameters.get(name, value)
    return type(law)(**found)


def _typical(values) -> float:
    return float(np.exp(np.log(values).mean()))


def _level(y) -> tuple[float, float]:
    """log E: from a thousandth of the least y up to it."""
    return np.log(1e-3 * y.min()), np.log(y.min())


def _height(y) -> tuple[float, float]:
    """log of a term at the typical run."""
    return np.log(1e-4 * np.median(y)), np.log(5 * np.median(y))


def _log(ends) -> tuple[float, float]:
    return float(np.log(ends[0])), float(np.log(ends[1]))


def _exponents(**names) -> Box:
    return {name: _log(ends or EXPONENT) for name, ends in names.items()}


def _around(values, below=1e-2, above=1e2) -> tuple[float, float]:
    """log of a scale of x: from well below the smallest to well above the largest."""
    return float(np.log(below * values.min())), float(np.log(above * values.max()))


def _scale(coordinates, name: str, x, exponent: float) -> float:
    """The factor A of A·x^{−exponent} whose height at the typical x is a coordinate."""
    return float(np.exp(coordinates[name] + exponent * np.log(_typical(x))))


def _power(t, i, y):
    alpha = np.exp(t["alpha"])
    return Power(_scale(t, "height", i["x"], alpha), alpha)


def _offset(t, i, y):
    alpha = np.exp(t["alpha"])
    return Offset(np.exp(t["E"]), _scale(t, "height", i["x"], alpha), alpha)


def _levelled(t, i, y):
    alpha, gamma = np.exp(t["alpha"]), np.exp(t["gamma"])
    return Levelled(float(np.exp(t["height"]) / (1 / _typical(i["x"]) + gamma) ** alpha), float(gamma), float(alpha))


def _implicit(t, i, y):
    alpha, E = np.exp(t["alpha"]), np.exp(t["E"])
    top, middle = y.max() * np.exp(t["top"]), _typical(y)
    beta = np.exp(t["beta"])
    # the height is that of the right side at the typical run, beside its value if y were typical there
    E = min(E, 0.999 * middle)
    right = (middle - E) / (top - middle) ** beta * np.exp(t["height"])
    return Implicit(float(E), float(top), float(right * _typical(i["x"]) ** alpha), float(alpha), float(beta))


def _shifted(t, i, y):
    alpha, d = np.exp(t["alpha"]), np.exp(t["d"])
    A = np.exp(t["height"]) * (_typical(i["x"]) + d) ** alpha
    return Shifted(float(np.exp(t["E"])), float(A), float(d), float(alpha))


def _broken(breaks: int):
    def build(t, i, y):
        order = sorted(range(1, breaks + 1), key=lambda k: t[f"d{k}"])  # of equal fits one
        d = tuple(float(np.exp(t[f"d{k}"])) for k in order)
        c = tuple(float(np.sinh(t[f"c{k}"])) for k in order)
        f = tuple(float(np.exp(t[f"f{k}"])) for k in order)
        unit = Broken(0.0, 1.0, t["c0"], d, c, f)
        return Broken(float(np.exp(t["E"])), float(np.exp(t["height"]) / unit.predict(_typical(i["x"]))), float(t["c0"]), d, c, f)

    def box(i, y):
        x = i["x"]
        found = {"E": _level(y), "height": _height(y), "c0": (-1.0, 3.0)}
        for k in range(1, breaks + 1):
            found |= {f"d{k}": _log((x.min(), 10 * x.max())), f"c{k}": tuple(np.arcsinh((-3.0, 30.0))), f"f{k}": _log((0.01, 3.0))}
        return found

    return box, build


def _surface(t, i) -> Chinchilla:
    alpha, beta = np.exp(t["alpha"]), np.exp(t["beta"])
    return Chinchilla(
        float(np.exp(t["E"])), _scale(t, "first", i["N"], alpha), _scale(t, "second", i["D"], beta), float(alpha), float(beta)
    )


def _surface_box(y) -> Box:
    return {"E": _level(y), "first": _height(y), "second": _height(y)} | _exponents(alpha=(0.05, 1.5), beta=(0.05, 1.5))


def _overtrained(t, i, y):
    eta = np.exp(t["eta"])
    at = np.exp(eta * np.log(_typical(i["C"])))
    M = _typical(i["M"])
    return Overtrained(float(np.exp(t["E"])), float(np.exp(t["first"]) * at * M**-eta), float(np.exp(t["second"]) * at * M**eta), float(eta))


def _routed(t, i, y):
    n, x = np.log(_typical(i["N"])), np.log(_typical(i["X"]))
    a, b, c = -np.exp(t["a"]), t["b"], t["c"]
    # b is the effect of the experts at the typical size
    b0 = b - c * n
    d = t["height"] - a * n - b0 * x - c * n * x
    return Routed(float(a), float(b0), float(c), float(d))


def _annealing(t, i, y):
    alpha = np.exp(t["alpha"])
    return Annealing(float(np.exp(t["E"])), _scale(t, "height", i["S1"], alpha), float(alpha), float(np.exp(t["K"]) * np.median(y) / np.abs(i["S2"]).max()))


def _quantised(t, i, y):
    D, N = np.exp(t["gamma_D"] * np.log(_typical(i["D"]))), np.exp(t["gamma_N"] * np.log(_typical(i["N"])))
    gamma = np.exp(t["gamma"])
    return Quantised(float(np.exp(t["height"] + i["P"].mean() / gamma) * N / D), float(t["gamma_D"]), float(t["gamma_N"]), float(gamma))


def _transfer(t, i, y):
    k = t["height"] - t["alpha"] * np.log(_typical(i["D_F"])) - t["beta"] * np.log(_typical(i["N"]))
    return Transfer(float(np.exp(k)), float(t["alpha"]), float(t["beta"]))


def _loss_to_loss(t, i, y):
    E0, kappa = np.exp(t["E0"]), np.exp(t["kappa"])
    above = _typical(i["L0"]) - E0
    return LossToLoss(float(np.exp(t["height"]) / above**kappa), float(kappa), float(E0), float(np.exp(t["E1"])))


def _translation(t, i, y):
    p_e, p_d = np.exp(t["p_e"]), np.exp(t["p_d"])
    A = np.exp(t["height"]) * _typical(i["N_e"]) ** p_e * _typical(i["N_d"]) ** p_d
    return EncoderDecoder(float(np.exp(t["E"])), float(A), float(p_e), float(p_d))


def _error(t, i, y):
    gamma, top = np.exp(t["gamma"]), np.exp(t["top"])
    return ErrorOfLoss(float(top), float(np.exp(t["drop"] + gamma * i["loss"].mean()) * top), float(gamma))


def _product(i: Inputs) -> np.ndarray:
    """Size by both sizes, as compute goes."""
    first, second, *_ = i.values()
    return first * second


def _lower(i: Inputs) -> np.ndarray:
    """Size where the input is a loss: the lower, the larger the model."""
    return 1 / next(iter(i.values()))


_X = {"x": "scale: examples, parameters or compute"}
_N, _D = {"N": "parameters"}, {"D": "tokens"}
_curve = lambda i, y: {"height": _height(y)} | _exponents(alpha=None)
_offset_box = lambda i, y: {"E": _level(y)} | _curve(i, y)

FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("m1", "y = A·x^−α", "Alabdulmohsin et al. 2022; Cherti et al. 2022", _X, "y", "error or loss", _curve, _power),
        Form("m2", "y = E + A·x^−α", "Hestness et al. 2017; Henighan et al. 2020", _X, "y", "error or loss", _offset_box, _offset),
        Form(
            "m3", "y = A·(1/x + γ)^α", "Alabdulmohsin et al. 2022", _X, "y", "error or loss",
            lambda i, y: _curve(i, y) | {"gamma": _log((1e-4 / i["x"].max(), 10 / i["x"].min()))}, _levelled,
        ),
        Form(
            "m4", "(y − E)/(top − y)^β = A·x^−α", "Alabdulmohsin et al. 2022", _X, "y", "error or loss",
            lambda i, y: _exponents(alpha=None, beta=(1e-3, 10.0)) | {"E": _level(y), "top": (1e-4, np.log(3)), "height": (-8.0, 8.0)}, _implicit,
        ),
        Form(
            "shifted", "y = E + A·(x + d)^−α", "Zhai et al. 2022", _X, "y", "error or loss",
            lambda i, y: _offset_box(i, y) | {"d": _around(i["x"], 1e-3, 10.0)}, _shifted,
        ),
        Form("bnsl-1", "y = E + A·x^−c0·(1 + (x/d)^(1/f))^(−c·f)", "Caballero et al. 2022", _X, "y", "error or loss", *_broken(1)),
        Form("bnsl-2", "as bnsl-1, two breaks", "Caballero et al. 2022", _X, "y", "error or loss", *_broken(2)),
        Form(
            "repeats", "L = E + A/N'^α + B/D'^β, N' and D' worth less when repeated", "Muennighoff et al. 2023",
            _N | _D | {"U": "distinct tokens"}, "loss", "nats per token",
            lambda i, y: _surface_box(y) | {"R_D": _log((0.3, 300.0)), "R_N": _log((0.3, 300.0))},
            lambda t, i, y: DataConstrained(_surface(t, i), float(np.exp(t["R_D"])), float(np.exp(t["R_N"]))), _product,
        ),
        Form(
            "overtrained", "L = E + (a·M^η + b·M^−η)·C^−η", "Gadre et al. 2024",
            {"C": "FLOPs", "M": "tokens a parameter"}, "loss", "nats per token",
            lambda i, y: {"E": _level(y), "first": _height(y), "second": _height(y)} | _exponents(eta=(0.02, 1.0)), _overtrained,
        ),
        Form(
            "error-of-loss", "Err = top − K·e^(−γL)", "Gadre et al. 2024", {"loss": "nats per token"}, "error", "a share",
            lambda i, y: {"top": _log((y.max() * 1.0001, 3 * y.max())), "drop": _log((1e-3, 0.9999))} | _exponents(gamma=(0.01, 20.0)), _error, _lower,
        ),
        Form(
            "trained-in-bits", "L = E + A/N_eff^α + B/D^β, N_eff = N·(1 − e^(−P/γ))", "Kumar et al. 2024",
            _N | _D | {"P": "bits a weight, while training"}, "loss", "nats per token",
            lambda i, y: _surface_box(y) | _exponents(gamma=(0.2, 30.0)),
            lambda t, i, y: TrainedInBits(_surface(t, i), float(np.exp(t["gamma"]))), _product,
        ),
        Form(
            "quantised", "δ = K·D^γD/N^γN·e^(−P/γ)", "Kumar et al. 2024", _N | _D | {"P": "bits a weight, after training"},
            "added_loss", "nats per token",
            lambda i, y: {"height": (np.log(y.min()) - 9, np.log(y.max()) + 9), "gamma_D": (-2.0, 3.0), "gamma_N": (-2.0, 3.0)} | _exponents(gamma=(0.1, 20.0)),
            _quantised, _product,
        ),
        Form(
            "transfer", "D_T = k·D_F^α·N^β", "Hernandez et al. 2021", {"D_F": "data finetuned on"} | _N, "D_T", "effective data transferred",
            lambda i, y: {"height": (np.log(y.min()) - 3, np.log(y.max()) + 3), "alpha": (-1.0, 2.0), "beta": (-1.0, 2.0)}, _transfer,
        ),
        Form(
            "annealing", "L = E + A·S1^−α − K·S2", "Tissue et al. 2024",
            {"S1": "sum of learning rates", "S2": "annealing area"}, "loss", "nats per token",
            lambda i, y: _curve(i, y) | {"E": _log((1e-3 * y.min(), y.max())), "K": _log((1e-6, 1.0))}, _annealing, signed=("S2",),
        ),
        Form(
            "loss-to-loss", "L1 = K·(L0 − E0)^κ + E1", "Brandfonbrener et al. 2024", {"L0": "nats per token"}, "L1", "nats per token",
            lambda i, y: {"E0": _log((1e-3 * i["L0"].min(), 0.999 * i["L0"].min())), "E1": _level(y), "height": _height(y)} | _exponents(kappa=(0.1, 5.0)),
            _loss_to_loss, _lower,
        ),
        Form(
            "routed", "log L = a·log N + b·log X + c·log N·log X + d", "Clark et al. 2022", _N | {"X": "experts"}, "loss", "nats per token",
            lambda i, y: {"a": _log((0.003, 1.0)), "b": (-1.0, 1.0), "c": (-0.1, 0.1), "height": (np.log(y.min()) - 1, np.log(y.max()) + 1)}, _routed, fixed=("start", "most"),
        ),
        Form(
            "encoder-decoder", "L = E + A·N_e^−p_e·N_d^−p_d", "Ghorbani et al. 2021",
            {"N_e": "parameters of the encoder", "N_d": "of the decoder"}, "loss", "nats per token",
            lambda i, y: {"E": _level(y), "height": _height(y)} | _exponents(p_e=None, p_d=None), _translation, _product,
        ),
        Form(
            "score-of-loss", "BLEU = K·e^(−kL)", "Gordon et al. 2021", {"loss": "nats per token"}, "score", "BLEU",
            lambda i, y: {"height": (np.log(y.min()) - 2, np.log(y.max()) + 2)} | _exponents(k=(0.01, 20.0)),
            lambda t, i, y: ScoreOfLoss(float(np.exp(t["height"] + np.exp(t["k"]) * i["loss"].mean())), float(np.exp(t["k"]))), _lower,
        ),
    )
}  # fmt: skip
"""Name → form."""
