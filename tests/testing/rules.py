"""A rule that obeys all laws, and rules that break some, for the tests of `check_rule`."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax import Example, Info, LearningRule, RuleCase
from plasticity_jax.base import READY

N_IN, N_OUT, EXAMPLES = 3, 2, 4


def delta(leak=0.5, sigma=0.1, noise=jax.random.normal):
    """The delta rule with noise on its error, and with a trace that smooths its updates over time."""

    def init(params, key, batch):
        return {"smooth": jnp.zeros_like(params["w"])}

    def update(params, traces, key, batch):
        w = params["w"]
        x, y = (jnp.asarray(leaf, w.dtype) for leaf in batch[:2])
        error = x @ w.T - y
        noisy = error if noise is None else error + sigma * noise(key, error.shape, w.dtype)
        smooth = leak * traces["smooth"] + (1 - leak) * (noisy.T @ x) / len(x)
        return {"w": smooth}, {"smooth": smooth}, Info(0.5 * jnp.mean(error**2), READY, {})

    return LearningRule(init, update)


def deterministic(leak=0.5):
    return delta(leak, noise=None)


def params(key):
    return {"w": jax.random.normal(key, (N_OUT, N_IN))}


def batch(key):
    key_x, key_y = jax.random.split(key)
    return Example(jax.random.normal(key_x, (EXAMPLES, N_IN)), jax.random.normal(key_y, (EXAMPLES, N_OUT)))


GOOD = RuleCase(deterministic, params, batch, "local", {"leak": 0.5}, stochastic=False)
NOISY = RuleCase(delta, params, batch, "local", {"leak": 0.5, "sigma": 0.1}, stochastic=True)


def textbook(params, traces, key, batch, coefficients):
    """A step of `deterministic`, one synapse at a time."""
    leak, w, smooth, loss = coefficients["leak"], params["w"].copy(), traces["smooth"].copy(), 0.0
    for i, j in np.ndindex(w.shape):
        errors = [sum(params["w"][i, k] * x[k] for k in range(N_IN)) - y[i] for x, y in zip(*batch[:2], strict=True)]
        products = [error * x[j] for error, x in zip(errors, batch.x, strict=True)]
        smooth[i, j] = leak * smooth[i, j] + (1 - leak) * sum(products) / EXAMPLES
        w[i, j] -= smooth[i, j]
        loss += 0.5 * np.mean(np.square(errors)) / (N_OUT * N_IN)
    return {"w": w}, {"smooth": smooth}, loss


class Fault(NamedTuple):
    """A rule that breaks laws.

    Attributes:
      case: the case of the rule.
      breaks: for each broken law, part of the reason in the report.
    """

    case: RuleCase
    breaks: Mapping[str, str]


FAULTS: dict[str, Fault] = {}


def fault(breaks, case=GOOD, **changes):
    """Registers a faulty ``make`` under the name of its function."""

    def named(make: Callable[..., LearningRule]):
        FAULTS[make.__name__] = Fault(case._replace(make=make, **changes), breaks)
        return make

    return named


def changed(rule, init=None, update=None):
    """The rule with its results changed: ``init(traces, params, batch)``, ``update(updates, traces, info, batch)``."""

    def new_init(params, key, batch):
        traces = rule.init(params, key, batch)
        return traces if init is None else init(traces, params, batch)

    def new_update(params, traces, key, batch):
        updates, after, info = rule.update(params, traces, key, batch)
        after = {**traces, **after}
        return (updates, after, info) if update is None else update(updates, after, info, batch)

    return LearningRule(new_init, new_update)


@fault({"L1": "float32, default coefficients: info.loss is float32[1], not float32[]"})
def loss_has_an_axis(leak=0.5):
    return changed(deterministic(leak), update=lambda u, t, info, b: (u, t, info._replace(loss=info.loss[None])))


@fault(
    {
        "L1": "updates['w'] is float16[2, 3], not float32[2, 3]",
        "L6": "difference quotient",
        "L13": "updates['w'] is float16",
    }
)
def updates_in_half_precision(leak=0.5):
    return changed(deterministic(leak), update=lambda u, t, i, b: ({"w": u["w"].astype(jnp.float16)}, t, i))


@fault(
    {
        "L1": "updates['bias'] is float32[2], not nothing",
        "L3": "ValueError",
        "L4": "ValueError",
        "L5": "ValueError",
        "L6": "ValueError",
        "L8": "ValueError",
        "L9": "ValueError",
        "L11": "ValueError",
        "L13": "updates['bias'] is float32[2], not nothing",
        "L16": "ValueError",
    }
)
def updates_of_no_weight(leak=0.5):
    return changed(deterministic(leak), update=lambda u, t, i, b: ({**u, "bias": u["w"][:, 0]}, t, i))


@fault(
    {
        "L2": "after one step, traces['smooth'] is float32[2, 3], not float32[1, 3]",
        "L3": "TypeError: scan",
        "L4": "TypeError: scan",
        "L5": "TypeError: scan",
        "L6": "TypeError: scan",
        "L8": "TypeError: scan",
        "L9": "the step is traced anew for the state after a step",
        "L11": "TypeError: scan",
        "L13": "after one step, traces['smooth'] is float32[2, 3], not float32[1, 3]",
    }
)
def trace_changes_shape(leak=0.5):
    return changed(deterministic(leak), lambda t, params, b: {"smooth": jnp.zeros_like(params["w"][:1])})


@fault({"L2": "traces['steps'] is float32, where the params are float64", "L13": "bfloat16"})
def trace_in_a_dtype_of_its_own(leak=0.5):
    return changed(deterministic(leak), lambda t, params, b: {**t, "steps": jnp.zeros((), jnp.float32)})


@fault({"L2": "traces hold a key", "L6": "TypeError"})
def trace_holds_a_key(leak=0.5):
    return changed(deterministic(leak), lambda t, params, b: {**t, "key": jax.random.key(0)})


@fault({"L3": "after an eager step, against a compiled one: params['w'][0, 0] is"})
def eager_step_is_another(leak=0.5):
    def update(updates, traces, info, batch):
        traced = isinstance(info.loss, jax.core.Tracer)
        return {"w": updates["w"] if traced else 2 * updates["w"]}, traces, info

    return changed(deterministic(leak), update=update)


@fault({"L3": "after a scan", "L4": "in one chunk, against two", "L5": "vmap, lane of seed 1"})
def noise_of_the_host(leak=0.5):
    generator = np.random.default_rng()  # a new rule is made for every program

    def update(updates, traces, info, batch):
        return {"w": updates["w"] + generator.normal(size=(N_OUT, N_IN)).astype(updates["w"].dtype)}, traces, info

    return changed(deterministic(leak), update=update)


@fault({"L8": "traces of init a second time, from the same key: ['start'][0, 0] is"})
def traces_of_the_host(leak=0.5):
    def init(traces, params, batch):
        return {**traces, "start": jnp.asarray(np.random.default_rng().normal(size=(1, 1)), params["w"].dtype)}

    return changed(deterministic(leak), init)


@fault(
    {
        "L3": "after 10 steps: state.traces.last is not finite",
        "L4": "after the trial: state.traces.last is not finite",
        "L5": "seed 1, after 10 steps: state.traces.last is not finite",
        "L8": "after 10 steps: state.traces.last is not finite",
        "L11": "from its own traces: traces['last'] is not finite after 1000 steps",
    }
)
def trace_is_not_a_number(leak=0.5):
    """A trace that the rule writes and never reads."""
    return changed(
        deterministic(leak),
        lambda t, params, b: {**t, "last": jnp.zeros((), params["w"].dtype)},
        lambda u, t, i, b: (u, {**t, "last": jnp.log(0 * i.loss - 1)}, i),
    )


@jax.custom_batching.custom_vmap
def mean_of_lanes(x):
    return x


@mean_of_lanes.def_vmap
def _(size, batched, x):
    return jnp.broadcast_to(jnp.mean(x, 0), x.shape), True


@jax.custom_jvp
def share(x):
    return mean_of_lanes(x)


@share.defjvp
def _(x, dx):
    return share(*x), dx[0]


@fault({"L5": "vmap, lane of seed 1: state.params['w'][0, 0] is"})
def lanes_mix(leak=0.5):
    """The update is a mean over the mapped axis."""
    return changed(deterministic(leak), update=lambda u, t, info, b: ({"w": share(u["w"])}, t, info))


@fault({"L6": "by leak, the gradient is"})
def gradient_is_stopped(leak=0.5):
    return deterministic(jax.lax.stop_gradient(leak) * 0.5 + leak * 0.5)


@fault({"L6": "difference quotients do not settle"})
def weights_change_in_steps(leak=0.5):
    def update(updates, traces, info, batch):
        return {"w": jnp.round(updates["w"] * 1e4) / 1e4}, traces, info

    return changed(deterministic(leak), update=update)


@fault(
    {"L5": "gain = 0.7 changes nothing", "L6": "by gain, there is no gradient (0.0e+00)"},
    coefficients={"leak": 0.5, "gain": 1.0},
)
def coefficient_is_not_used(leak=0.5, gain=1.0):
    return deterministic(leak)


@fault({"L8": "stochastic=True, yet two keys give one result"}, NOISY, coefficients={"leak": 0.5})
def noise_ignores_the_key(leak=0.5):
    return delta(leak, noise=lambda key, shape, dtype: jax.random.normal(jax.random.key(3), shape, dtype))


@fault({"L8": "stochastic=False, yet with another key: state.params['w'][0, 0] is"}, NOISY, stochastic=False)
def noise_is_not_declared(leak=0.5, sigma=0.1):
    return delta(leak, sigma)


class Labelled:
    """A trace with a unique label, so that no two have the same structure."""

    def __init__(self, value, label=None):
        self.value, self.label = value, object() if label is None else label


jax.tree_util.register_pytree_node(
    Labelled, lambda t: ((t.value,), t.label), lambda label, leaf: Labelled(*leaf, label)
)


@fault(
    {
        "L2": "after one step, traces has another structure",
        "L3": "TypeError: scan",
        "L4": "TypeError: scan",
        "L5": "TypeError: scan",
        "L6": "TypeError: scan",
        "L8": "TypeError: scan",
        "L9": "the step is traced anew for the state after a step",
        "L11": "TypeError: scan",
        "L13": "traces has another structure",
    }
)
def structure_is_new_at_every_step(leak=0.5):
    def init(traces, params, batch):
        return {**traces, "label": Labelled(jnp.zeros_like(params["w"]))}

    def update(updates, traces, info, batch):
        return updates, {**traces, "label": Labelled(traces["label"].value)}, info

    return changed(deterministic(leak), init, update)


@fault({"L11": "from its own traces: traces['growing'] is not finite after 1000 steps"})
def trace_grows_without_end(leak=0.5):
    return changed(
        deterministic(leak),
        lambda t, params, b: {**t, "growing": jnp.ones((), params["w"].dtype)},
        lambda u, t, i, b: (u, {**t, "growing": 2 * t["growing"]}, i),
    )


@fault({"L6": "from traces of zero, the gradient by leak is nan", "L11": "from traces of zero: the loss is not finite"})
def norm_of_nothing(leak=0.5):
    def update(updates, traces, info, batch):
        unit = traces["unit"] / jnp.sqrt(jnp.sum(traces["unit"] ** 2))
        return {"w": updates["w"] * jnp.sum(unit**2)}, {**traces, "unit": unit}, info

    return changed(deterministic(leak), lambda t, params, b: {**t, "unit": jnp.ones_like(params["w"])}, update)


@fault({"L13": "float32 weights, NumPy data in float64: traces['mean'] is float64"})
def trace_has_the_dtype_of_the_data(leak=0.5):
    def update(updates, traces, info, batch):
        return updates, {**traces, "mean": 0.5 * traces["mean"] + jnp.mean(batch.x, 0)}, info

    return changed(deterministic(leak), lambda t, params, b: {**t, "mean": jnp.zeros(N_IN, b.x.dtype)}, update)


@fault({"L14": "init gives away an array that the rule goes on to use"})
def trace_is_kept_by_the_rule(leak=0.5):
    cache = {}

    def init(traces, params, batch):
        name = params["w"].dtype.name
        if name not in cache:
            with jax.ensure_compile_time_eval():
                cache[name] = jnp.zeros((N_OUT, N_IN), params["w"].dtype)
        return {"smooth": cache[name]}

    return changed(deterministic(leak), init)


@fault({"L14": "donate the same buffer twice"})
def trace_is_a_weight(leak=0.5):
    def init(traces, params, batch):
        traced = isinstance(params["w"], jax.core.Tracer)
        return {**traces, "first": params["w"] if traced else params["w"].addressable_data(0)}

    return changed(deterministic(leak), init)


@fault({"L15": "combines the shapes (2, 3) (3,): write the axis that is meant, as in theta[None]"})
def axis_is_added_unsaid(leak=0.5):
    def update(updates, traces, info, batch):
        return {"w": updates["w"] * jnp.asarray([1.0, 0.9, 0.8], updates["w"].dtype)}, traces, info

    return changed(deterministic(leak), update=update)


@jax.custom_jvp
def on_the_host(x):
    return jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="expand_dims")


@on_the_host.defjvp
def _(x, dx):
    return on_the_host(*x), dx[0]


@fault({"L16": "not for CUDA and TPU: it calls back to Python (pure_callback), which cannot be exported"})
def update_is_the_hosts(leak=0.5):
    return changed(deterministic(leak), update=lambda u, t, i, b: ({"w": on_the_host(u["w"])}, t, i))


@fault({"L16": "not for CUDA and TPU: the primitive eig has no lowering for tpu"})
def eigenvalues_of_lapack(leak=0.5):
    """The eigenvalues of w w^T are real, and their sum is |w|^2."""

    def update(updates, traces, info, batch):
        w = updates["w"]
        wide = w.astype(jnp.promote_types(w.dtype, jnp.float32))
        size = jnp.sum(jnp.linalg.eigvals(wide @ wide.T).real).astype(w.dtype)
        return {"w": w / (1 + size)}, traces, info

    return changed(deterministic(leak), update=update)
