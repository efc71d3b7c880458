"""Weights, feedback and batches that do not fit a chain are named in one line, with the expected form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import layers, rules
from plasticity_jax.layers import chain, conv, dense, fitted, flatten, init_params
from plasticity_jax.typing import Example

NET = chain((4, 4, 1), [conv(2, 3, "tanh"), conv(3, 2, "tanh"), flatten(), dense(2)])
PARAMS = {pathway: init_params(jax.random.key(0), NET, pathway=pathway) for pathway in ("chain", "direct")}
BATCH = Example(jnp.ones((3, 4, 4, 1)), jnp.ones((3, 2)))


def one_line(call, problem, remedy, errors=(ValueError, TypeError, AssertionError)):
    with pytest.raises(errors) as refusal:
        call()
    message = str(refusal.value)
    assert "\n" not in message, message
    assert problem in message
    assert remedy in message


def forward(**changed):
    return lambda params: {**params, "forward": {**params["forward"], **changed}}


def feedback(*w_fb):
    return lambda params: {**params, "feedback": {"w_fb": w_fb}}


W = PARAMS["chain"]["forward"]["w"]
B = {pathway: params["feedback"]["w_fb"] for pathway, params in PARAMS.items()}
ROWS, KERNEL = "(2, 48)", "(2, 2, 2, 3)"
MISFITS = {
    "no forward": (lambda p: {"feedback": p["feedback"]}, 'params["forward"] is missing', "params has feedback"),
    "no biases": (lambda p: {"forward": {"w": p["forward"]["w"]}}, 'params["forward"]["bias"] is missing', "has w"),
    "a list": (lambda p: [p], 'params["forward"] is missing', "params has no names"),
    "fewer weights": (forward(w=W[:2]), 'params["forward"]["w"] has 2 entries for 3 layers', "give each one"),
    "a kernel": (forward(w=(W[0], W[0], W[2])), f"w[1] must be {KERNEL} for conv(3, 2)", "not (3, 3, 1, 2)"),
    "a tree": (forward(w=({"kernel": W[0]}, *W[1:])), "w[0] must be (3, 3, 1, 2) for conv(2, 3)", "not {'kernel'"),
    "a bias": (forward(bias=(jnp.zeros(4), jnp.zeros(3), jnp.zeros(2))), "bias[0] must be (2,)", "(4,)"),
}
MISLED = {
    "chain": {
        "no feedback": (lambda p: {"forward": p["forward"]}, 'params["feedback"] is missing', "params has forward"),
        "one": (feedback(B["chain"][0]), "1 feedback weights w_fb for 2 hidden layers", "give each layer one"),
        "direct": (
            feedback(*B["direct"]),
            f"w_fb[0] must be {KERNEL} on the pathway 'chain'",
            "pathway='chain') draws",
        ),
        "shape": (feedback(B["chain"][0], B["chain"][1].T), f"w_fb[1] must be {ROWS}", "init_params(key, net, pathway"),
    },
    "direct": {
        "no feedback": (lambda p: {"forward": p["forward"]}, 'params["feedback"] is missing', "params has forward"),
        "chain": (feedback(*B["chain"]), "w_fb[0] must be (2, 32) on the pathway 'direct'", "pathway='direct') draws"),
        "shape": (feedback(B["direct"][0], B["direct"][1].T), f"w_fb[1] must be {ROWS}", "pathway='direct') draws"),
    },
}
BATCHES = {
    "tuple": (tuple(BATCH[:2]), "batch is a tuple", "give an Example, as in Example(x, y)"),
    "no examples": (Example(BATCH.x[:0], BATCH.y[:0]), "batch.x has no examples", "leave the step out"),
    "rows": (Example(BATCH.x.reshape(3, -1), BATCH.y), "batch.x must be (B, 4, 4, 1)", "(3, 16)"),
    "targets": (Example(BATCH.x, BATCH.y[:2]), "batch.y must be (B, 2), with B = 3 as in batch.x", "(2, 2)"),
    "labels": (
        Example(BATCH.x, np.array([0, 1, 1])),
        "batch.y holds int64 labels of shape (3,), and loss='squared' takes targets (3, 2)",
        "y, 2), or build the network with loss='softmax'",
    ),
    "weight": (
        BATCH._replace(weight=jnp.ones((3, 1))),
        "batch.weight must be (B,), with B = 3 as in batch.x",
        "not (3, 1)",
    ),
}


def both(rule, params, batch, texts, pathway="chain"):
    """Asserts the error of init, and of an update with traces that fit."""
    key = jax.random.key(0)
    traces = rule.init(PARAMS[pathway], key, BATCH)
    one_line(lambda: rule.init(params, key, batch), *texts)
    one_line(lambda: rule.update(params, traces, key, batch), *texts)


@pytest.mark.parametrize("name", MISFITS)
@pytest.mark.parametrize("rule", ["backprop", "weight_mirror", "node_perturbation", "weight_perturbation"])
def test_forward_weights_that_do_not_fit_are_named(rule, name):
    change, *texts = MISFITS[name]
    both(getattr(rules, rule)(NET), change(PARAMS["chain"]), BATCH, texts)


@pytest.mark.parametrize(
    ("rule", "pathway", "name"),
    [
        *(("feedback_alignment", "chain", name) for name in MISLED["chain"]),
        *(("matching", "chain", name) for name in MISLED["chain"]),
        *(("weight_mirror", "chain", name) for name in MISLED["chain"]),
        *(("node_perturbation", "chain", name) for name in MISLED["chain"]),
        *(("direct_feedback_alignment", "direct", name) for name in MISLED["direct"]),
    ],
)
def test_feedback_weights_that_do_not_fit_are_named(rule, pathway, name):
    change, *texts = MISLED[pathway][name]
    both(getattr(rules, rule)(NET), change(PARAMS[pathway]), BATCH, texts, pathway)


@pytest.mark.parametrize("name", BATCHES)
def test_batches_that_do_not_fit_are_named(name):
    batch, *texts = BATCHES[name]
    both(rules.backprop(NET), PARAMS["chain"], batch, texts)
    both(rules.weight_perturbation(NET), PARAMS["chain"], batch, texts)
    one_line(lambda: fitted(NET, PARAMS["chain"], batch, "query"), texts[0].replace("batch", "query"), texts[1])


def test_losses_and_labels_that_do_not_fit_are_named():
    def of_classes(z, y):
        return (z - y) ** 2

    batch = Example(jnp.ones((3, 4)), np.array([0, 1, 2]))
    softmax = chain((4,), [dense(2)], "softmax")
    params = init_params(jax.random.key(0), softmax)
    one_line(lambda: fitted(softmax, params, batch), "batch.y has the label 2; with 2 outputs", "use 0 to 1")
    texts = "batch.y must be (B,), labels, with B = 3 as in batch.x", "not (2,)"
    one_line(lambda: fitted(softmax, params, batch._replace(y=batch.y[:2])), *texts)
    vector = rules.backprop(chain((4,), [dense(2)], of_classes))
    images = batch._replace(y=jnp.ones((3, 2)))
    loss_texts = "loss returns shape (2,) for one output (2,)", "it must return one number"
    one_line(lambda: vector.update(params, (), jax.random.key(0), images), *loss_texts)
    mine = chain((4,), [dense(2)], lambda z, y: jnp.sum(z) * y)
    texts = "batch.y must be (B, ...), with B = 3 as in batch.x", "not (2,)"
    one_line(lambda: fitted(mine, params, batch._replace(y=jnp.ones(2))), *texts)


def test_labels_for_a_squared_loss_of_one_output_are_refused():
    net = chain((4,), [dense(1)])
    params, batch = init_params(jax.random.key(0), net), Example(jnp.ones((3, 4)), np.array([0, 1, 2]))
    texts = "labels of shape (3,), and loss='squared' takes targets (3, 1)", "give batch.y[..., None]"
    one_line(lambda: fitted(net, params, batch), *texts)
    assert fitted(net, params, batch._replace(y=batch.y[:, None])).y.shape == (3, 1)
    one_line(lambda: fitted(net, params, batch._replace(y=jnp.ones(3))), "batch.y must be (B, 1)", "not (3,)")


def test_a_custom_loss_must_return_one_number():
    rule = rules.weight_perturbation(lambda params, batch: (batch.x - params) ** 2)
    batch = Example(jnp.ones(3), jnp.ones(3))
    texts = "net returns shape (3,)", "return the batch's loss, one number"
    one_line(lambda: rule.update(jnp.zeros(3), (), jax.random.key(0), batch), *texts)


@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_a_named_loss_takes_targets_of_the_outputs_form(loss):
    """Labels, and targets with an axis of 1, would broadcast over the batch; `fitted` makes targets of labels."""
    net = chain((4,), [dense(3)], loss)
    output, labels = jax.random.normal(jax.random.key(0), (3, 3)), np.array([0, 2, 1])
    texts = f"y has shape (3,), but loss='{loss}' takes that of the output, (3, 3)", "layers.fitted(net, params, batch)"
    one_line(lambda: layers.loss_and_credit(net, output, labels), *texts)
    one_line(
        lambda: layers.loss_and_credit(net, output, jnp.ones((3, 1))), texts[0].replace("(3,)", "(3, 1)"), texts[1]
    )
    losses, _ = layers.loss_and_credit(net, output, np.eye(3)[labels])
    if loss == "softmax":
        y = fitted(net, init_params(jax.random.key(0), net), Example(jnp.ones((3, 4)), labels)).y
        np.testing.assert_array_equal(layers.loss_and_credit(net, output, y)[0], losses)
        share = np.exp(output) / np.exp(output).sum(1, keepdims=True)
        np.testing.assert_allclose(losses, -np.log(share[np.arange(3), labels]), rtol=1e-12)
    own = chain((4,), [dense(3)], lambda z, y: z[y])  # takes any target
    np.testing.assert_array_equal(layers.loss_and_credit(own, output, labels)[0], output[np.arange(3), labels])


def test_forward_takes_the_forward_weights():
    params = PARAMS["chain"]
    for weights in (params, params["forward"]["w"], {"w": params["forward"]["w"]}):
        texts = 'forward takes the weights params["forward"]', "with the names w and bias"
        one_line(lambda weights=weights: layers.forward(NET, weights, BATCH.x), *texts)
    texts = "x must be (B, 4, 4, 1)", "not (3, 16)"
    one_line(lambda: layers.forward(NET, params["forward"], BATCH.x.reshape(3, -1)), *texts)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_forward_casts_images_of_bytes_to_the_dtype_of_the_weights(dtype):
    weights = init_params(jax.random.key(0), NET, dtype=dtype)["forward"]
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 1), np.uint8)
    activity, expected = (layers.forward(NET, weights, x).h for x in (images, jnp.asarray(images.astype(float), dtype)))
    assert {h.dtype for h in activity} == {jnp.dtype(dtype)}
    np.testing.assert_array_equal(activity[0].astype(float), images)  # neither scaled nor rounded
    for each, other in zip(activity, expected, strict=True):
        np.testing.assert_array_equal(each, other)
    assert np.ptp(activity[-1].astype(float), axis=0).min() > 0
