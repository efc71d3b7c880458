r"""Feedback learned by node perturbation: noise shows the effect of activity on the loss, and B learns to predict it.

    h~^i = phi_i(W^i h~^{i-1} + b^i) + sigma xi^i                  in all hidden layers at once; none on input or output
    lam^i = (L~ - L) xi^i / sigma                                  for each example; an estimate of dL/dh^i
    B^{i+1} = argmin E |e~^{i+1} B^{i+1} - lam^i|^2                e~ held fixed: no gradient goes through it
    e~^i = (e~^{i+1} B^{i+1}) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T     of the clean pass, as in feedback alignment

With "direct" feedback, e^L takes the place of e~^{i+1} in the last two lines. There are three ways to solve for B:

    sgd      updates of B: mean e~^T (e~ B - lam), the gradient of 1/2 mean |e~ B - lam|^2
    ridge    V += sum e~^T e~,  S += sum e~^T lam,  B^ = (V + ridge I)^{-1} S;  e~ from the current B
    offline  M += sum e^L^T e^L,  S += sum e^L^T lam;  then, from the top, with R = I at first:
             B^ = (R M R^T + ridge I)^{-1} R S,  R <- B^^T R       theorem 2's estimator, for linear hidden layers

For ridge and offline the update emitted is B - B^, so that SGD at a rate of 1 on the "feedback" group sets B to B^.

These are the equations of dense layers. In any other layer, e B stands for linear(B, .)^T e, and sgd's update of B is
linear(., e B - lam)^T e.

Source: Lansdell, Prakash & Kording (2020), section 3 and supplement A. Kind: approximate; exact at B = W, and
consistent: for sigma -> 0, B converges to W where the e~ of the regression has full rank (assumption A3).
Memory: B, and for ridge and offline V and S, twice. Time: that of backpropagation, a second pass through all layers but
the first, and one product a layer for B; ridge adds n^3 for each solution. Each forward synapse reads its
presynaptic activity and its neuron's error signal; a feedback synapse reads the error that it carries, its target's
noise, and one number for the whole network, L~ - L.
Departures from the paper: its "variance" of the noise is sigma here, the standard deviation, as in the authors' code.
The network's output is that of the clean pass. Biases get neither noise nor feedback. Means over the batch take the
place of the code's sums. V and S are compensated sums, because plain ones drift over 1e6 steps in float32. Forgetting,
antithetic pairs and random signs as noise are additions.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule, Ready
from plasticity_jax.layers.chain import Chain, Pathway, check_chain, check_pathway, others_than_dense
from plasticity_jax.layers.layer import gradient
from plasticity_jax.layers.passes import between, forward, gradients, loss_and_credit, perturbed_output
from plasticity_jax.ops import groups
from plasticity_jax.ops.checks import number, one_of
from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.ops.noise import check_noise, noise_of_shapes
from plasticity_jax.ops.sums import RunningSum, add, empty_sum
from plasticity_jax.rules.feedback.common import Carried, carry_back, entered
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar, Updates

Estimator = Literal["sgd", "ridge", "offline"]


class NodePerturbationTraces(NamedTuple):
    """Sums of the regression of B.

    Attributes:
      steps: shape (), int32, steps taken.
      second: V: L - 1 running sums (n_{i+1}, n_{i+1}) for ridge in a chain; one, (n_L, n_L), if direct or offline;
        () for sgd.
      cross: S: L - 1 running sums, of the shape of B^{i+1} for ridge, (n_L, n_i) for offline; () for sgd.
    """

    steps: Array
    second: tuple[RunningSum, ...]
    cross: tuple[RunningSum, ...]


def node_perturbation(
    net: Chain,
    *,
    sigma: Scalar = 1e-2,
    noise: Literal["gaussian", "rademacher"] = "gaussian",
    antithetic: bool = False,
    pathway: Pathway = "chain",
    estimator: Estimator = "sgd",
    ridge: Scalar = 0.1,
    forgetting: Scalar = 1.0,
    solve_every: int = 1,
    warm_up: int = 0,
) -> LearningRule:
    """Feedback matrices learned by regression on the effects of noise.

    Args:
      net: the network, with at least one hidden layer.
      sigma: the noise's standard deviation, above 0; in float32 best within 1e-4 to 1e-1.
      noise: "gaussian" (the paper's) or "rademacher" (cheaper, with less variance).
      antithetic: use (L(+) - L(-)) / 2 in place of L(+) - L, at the cost of one more forward pass.
      pathway: "chain" or "direct".
      estimator: "sgd", "ridge" or "offline".
      ridge: added to the diagonal of V at each solution, at least 0; not forgotten.
      forgetting: factor on V and S at each step, in (0, 1]. Below 1, errors of earlier B and W fade.
      solve_every: steps between solutions (ridge, offline); in between the group "feedback" is not ready.
      warm_up: steps in which only B is learned: the group "forward" is not ready.

    Returns:
      A rule over ``w`` and ``bias``, and over ``w_fb`` of the chosen pathway.

    Raises:
      ValueError: if an option is not known or out of range, there is no hidden layer, or the estimator is "offline" and
        a hidden layer is nonlinear or the pathway direct.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 1), ("tanh", "identity"))
      >>> learn = pj.learner(node_perturbation(net, estimator="ridge", forgetting=0.99), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Lansdell, Prakash & Kording, "Learning to solve the credit assignment problem", ICLR 2020.
    """
    check_chain(net)
    check_noise(noise)
    check_pathway(pathway)
    one_of("estimator", estimator, ("sgd", "ridge", "offline"))
    if len(net.layers) < 2:
        raise ValueError("node perturbation needs a hidden layer to perturb: give the network two layers with weights")
    if solve_every < 1 or warm_up < 0:
        raise ValueError(f"solve_every={solve_every} must be at least 1 step and warm_up={warm_up} at least 0")
    if estimator == "offline" and (pathway != "chain" or {layer.phi for layer in net.layers[:-1]} != {"identity"}):
        raise ValueError("estimator='offline' is for chains of linear hidden layers; use 'ridge'")
    not_dense = others_than_dense(net)
    if estimator != "sgd" and pathway == "chain" and not_dense:
        raise ValueError(
            f"estimator={estimator!r} solves for matrices between dense layers, and {not_dense[0]} is in their way: "
            "use 'sgd', or pathway='direct'"
        )

    number("sigma", sigma, 0, open_low=True, why="the standard deviation of the noise, which divides its effect")
    number("ridge", ridge, 0, why="added to the diagonal of a second moment")
    number("forgetting", forgetting, 0, 1, open_low=True, why="the fraction of the statistics kept at each step")

    def init(params: Params, key: Key, batch: Example) -> NodePerturbationTraces:
        entered(net, params, batch, pathway)
        steps, dtype = jnp.zeros((), jnp.int32), jax.tree.leaves(params["forward"]["w"])[0].dtype
        if estimator == "sgd":
            return NodePerturbationTraces(steps, (), ())
        shared = pathway == "direct" or estimator == "offline"
        n = [math.prod(shape) for shape in net.h_shapes]
        v = [math.prod(shape) for shape in net.v_shapes]
        senders = v[-1:] if shared else v[1:]
        second = tuple(empty_sum((sender, sender), dtype) for sender in senders)
        pairs = zip(senders * (len(n) - 2) if shared else senders, n[1:-1], strict=True)
        return NodePerturbationTraces(steps, second, tuple(empty_sum(pair, dtype) for pair in pairs))

    def update(
        params: Params, traces: NodePerturbationTraces, key: Key, batch: Example
    ) -> tuple[Updates, NodePerturbationTraces, Info]:
        x, y, _, weight = entered(net, params, batch, pathway)
        weights, w_fb = params["forward"], params["feedback"]["w_fb"]
        clean = forward(net, weights, x)
        loss, credit = loss_and_credit(net, clean.h[-1], y, weight)
        error = clean.pull[-1](credit)
        carried = carry_back(net, clean, error, w_fb, pathway)
        xi = noise_of_shapes(key, [(len(x), *shape) for shape in net.h_shapes[1:-1]], error.dtype, noise)
        size, keep = jnp.asarray(sigma, error.dtype), jnp.asarray(forgetting, error.dtype)

        def loss_with(size: Array) -> Array:
            output = perturbed_output(net, weights, clean.h[1], [size * each for each in xi])
            return loss_and_credit(net, output, y, weight)[0]

        effect = (loss_with(size) - loss_with(-size)) / (2 * size) if antithetic else (loss_with(size) - loss) / size
        target = [jnp.expand_dims(effect, tuple(range(1, each.ndim))) * each for each in xi]  # lam^i

        steps = traces.steps + 1
        if estimator == "sgd":
            feedback_updates = _descend(net, w_fb, carried, target, pathway)
            traces = NodePerturbationTraces(steps, (), ())
        else:
            errors = [error] if estimator == "offline" else carried.source[: len(traces.second)]
            second = tuple(add(v, e.T @ e, keep) for v, e in zip(traces.second, errors, strict=True))
            errors = errors * len(w_fb) if len(second) == 1 else errors
            target = [lam.reshape(len(lam), -1) for lam in target]
            cross = tuple(add(s, e.T @ lam, keep) for s, e, lam in zip(traces.cross, errors, target, strict=True))
            traces = NodePerturbationTraces(steps, second, cross)

            def solved() -> tuple[Array, ...]:
                estimates = estimate(traces, ridge, estimator)
                return tuple(b - b_hat for b, b_hat in zip(w_fb, estimates, strict=True))

            def unchanged() -> tuple[Array, ...]:
                return tuple(jnp.zeros_like(b) for b in w_fb)

            if solve_every == 1:
                feedback_updates = solved()
            else:
                feedback_updates = jax.lax.cond(steps % solve_every == 0, solved, unchanged)

        weight_gradients = gradients(net, weights, clean, carried.error)
        if warm_up:
            weight_gradients = jax.tree.map(lambda g: jnp.where(steps > warm_up, g, 0), weight_gradients)
        updates = groups.filled(params, {"forward": weight_gradients, "feedback": {"w_fb": feedback_updates}})
        return updates, traces, Info(jnp.mean(loss), ready_after(steps), {"output": clean.h[-1]})

    def ready_after(steps: Array) -> Ready:
        waiting = {"forward": steps > warm_up} if warm_up else {}
        if estimator != "sgd" and solve_every > 1:
            waiting["feedback"] = steps % solve_every == 0
        return waiting or READY

    return LearningRule(init, update)


def estimate(traces: NodePerturbationTraces, ridge: Scalar, estimator: str) -> tuple[Array, ...]:
    """B^ of all layers, from the sums of the regression."""
    if estimator == "offline":
        return offline_feedback(traces.second[0].total, [s.total for s in traces.cross], ridge)
    second = traces.second * len(traces.cross) if len(traces.second) == 1 else traces.second
    return tuple(_ridge(v.total, s.total, ridge) for v, s in zip(second, traces.cross, strict=True))


def offline_feedback(second: Array, cross: Sequence[Array], ridge: Scalar) -> tuple[Array, ...]:
    """Theorem 2's estimator for a linear chain: each layer's errors are carried back by the B^ of the layers above.

    Args:
      second: (n_L, n_L), M, the sum of e^L^T e^L.
      cross: L - 1 arrays (n_L, n_i), sums of e^L^T lam^i, i from 1.
      ridge: added to the diagonal of every second moment.

    Returns:
      L - 1 arrays, B^ of layers 2 to L, of the shapes of W.
    """
    estimates, r = [], jnp.eye(len(second), dtype=second.dtype)  # e~ = e^L r^T
    for s in reversed(cross):
        b = _ridge(r @ second @ r.T, r @ s, ridge)
        estimates.insert(0, b)
        r = b.T @ r
    return tuple(estimates)


def _ridge(second: Array, cross: Array, ridge: Scalar) -> Array:
    wide = jnp.promote_types(second.dtype, jnp.float32)  # LAPACK has no half precision
    v = second.astype(wide)
    # Shrink directions weaker than V's own rounding, or a near-singular V may not be positive definite.
    diagonal = jnp.asarray(ridge, wide) + jnp.finfo(second.dtype).eps.astype(wide) * jnp.trace(v)
    diagonal = diagonal + jnp.finfo(wide).tiny  # or V is singular before the first error, without a ridge
    return _solve(v + diagonal * jnp.eye(len(v), dtype=wide), cross.astype(wide)).astype(second.dtype)


@lane_by_lane
def _solve(positive: Array, cross: Array) -> Array:
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(positive), cross)


def _descend(
    net: Chain, w_fb: Sequence[PyTree], carried: Carried, target: Sequence[Array], pathway: Pathway
) -> tuple[PyTree, ...]:
    """The gradient of 1/2 mean |c - lam|^2 for B: that of a layer with weights B, input c - lam and error e~."""

    def of_layer(i: int) -> PyTree:
        residual = carried.credit[i] - target[i]
        if pathway == "direct":
            total = carried.source[i].T @ residual.reshape(len(residual), -1)
        else:
            total = gradient(net.layers[i + 1], w_fb[i], between(net, i + 1, residual), carried.source[i])
        return jax.tree.map(lambda g: g / len(residual), total)

    return tuple(map(of_layer, range(len(target))))
