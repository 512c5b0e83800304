"""Several threads of one process explain at once: each map is right, and nothing stays changed."""

import multiprocessing
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import regard
from regard.core import recording
from regard.core.image_target import Mean
from regard.core.one_thread import alone
from regard.explainers import METHODS
from regard.explainers.perturbation.incremental.trace import trace
from regard.models import ModelCard
from regard.testing.networks import TinyNetwork, example

PATCHED = (nn.Module.__call__, nn.Module.__getattr__)


def unet(seed: int) -> nn.Module:
    from monai.networks.nets import UNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: nn.Module = UNet(spatial_dims=2, in_channels=1, out_channels=1, channels=(4, 8), strides=(2,)).train()
    return made


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each of ``works`` gives, or the error that it raises, all started together."""
    gate, found = threading.Barrier(len(works)), [None] * len(works)

    def run(n: int, work: Callable[[], Any]) -> None:
        gate.wait()
        try:
            found[n] = work()
        except Exception as error:
            found[n] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def state(network: nn.Module) -> list[Any]:
    weights = [v.clone() for v in network.state_dict().values()]
    return [weights, [p.requires_grad for p in network.parameters()], [m.training for m in network.modules()]]


def same(one: Any, two: Any) -> None:
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert (nn.Module.__call__, nn.Module.__getattr__) == PATCHED


@pytest.mark.parametrize("numbers", [(0, 1), (0, 0)], ids=["two networks", "one network"])
def test_two_threads_occlude_at_once(numbers: tuple[int, int]) -> None:
    networks, x = [unet(0), unet(1)], example((8, 8)).float()
    wanted = [METHODS.load("occlusion")(n, window=4).attribute(x, Mean()) for n in networks]
    before = [state(n) for n in networks]

    def work(n: int) -> list[Tensor]:
        return [METHODS.load("occlusion")(networks[n], window=4).attribute(x, Mean()) for _ in range(4)]

    found = at_once(*[lambda n=n: work(n) for n in numbers])
    for n, maps in zip(numbers, found, strict=True):
        for one in maps:
            same(one, wanted[n])
    same([state(n) for n in networks], before)


@pytest.mark.parametrize("name", ["grad-cam", "ablation-cam", "guided-backpropagation", "deeplift", "shapley", "rise"])
def test_threads_of_unlike_methods_share_a_network(name: str) -> None:
    network, x = TinyNetwork((5, 5), in_place=True).train(), example((5, 5))
    before, random_state = state(network), torch.get_rng_state()
    knobs: dict[str, dict[str, Any]] = {"rise": {"n_masks": 8}, "shapley": {"n_segments": 4, "n_samples": 2}}
    names = [name, "occlusion", "gradient"]
    works = [lambda n=n: METHODS.load(n)(network, **knobs.get(n, {})).attribute(x) for n in names]
    wanted = [work() for work in works]
    for _ in range(3):
        same(at_once(*works), wanted)
    same(state(network), before)
    assert torch.equal(torch.get_rng_state(), random_state)


def test_two_threads_explain_scans_with_one_model() -> None:
    entry = {
        "name": "image", "channels": 1, "orientation": "RAS", "spacing_mm": None, "shape": [6, 6, 6],
        "fit": "crop-pad", "unit": "HU", "window": None, "normalise": "none",
    }  # fmt: skip
    output = {"kind": "regression", "names": ["a"], "units": ["1"], "activation": "none"}
    card = ModelCard.model_validate({"name": "m", "inputs": [entry], "output": output})
    model = regard.Model(TinyNetwork((6, 6, 6)).float(), card)
    scans = [regard.Volume(example((6, 6, 6), seed=n)[0].float(), np.eye(4), "HU") for n in (1, 2)]
    works = [lambda s=s, m=m: regard.explain(model, s, m) for s in scans for m in ("gradient", "occlusion:window=3")]
    wanted = [work().relevance.tensor for work in works]
    same([e.relevance.tensor for e in at_once(*works)], wanted)


def test_tracing_leaves_the_calls_of_other_threads_alone() -> None:
    """A thread that only predicts runs its own network while another's is traced, in the middle of it."""
    x, beside = example((5, 5)), TinyNetwork((5, 5), seed=4)
    wanted, found = beside(x), []

    class Waits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = TinyNetwork((5, 5))

        def forward(self, x: Tensor) -> Any:
            other = threading.Thread(target=lambda: found.append(beside(example((5, 5)))))
            other.start()
            other.join(30)
            return self.network(x)

    trace(Waits(), regard.core.inputs.Inputs.of(x))
    assert len(found) == 1
    same(found[0], wanted)


@pytest.mark.parametrize("end", ["error", "close"])
def test_the_lock_is_let_go_after_an_error_and_by_a_closed_generator(end: str) -> None:
    def explaining() -> Any:
        with recording.intact(TinyNetwork((5, 5))), alone():
            yield

    opened = explaining()
    next(opened)
    if end == "close":
        opened.close()
    else:
        with pytest.raises(ArithmeticError):
            opened.throw(ArithmeticError("a fault on purpose"))
    other = threading.Thread(target=METHODS.load("gradient")(TinyNetwork((5, 5))).attribute, args=(example((5, 5)),))
    other.start()
    other.join(30)
    assert not other.is_alive()


def _in_child(answer: Any) -> None:
    with alone():
        answer.send("free")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_has_not() -> None:
    held, leave = threading.Event(), threading.Event()

    def holds() -> None:
        with alone():
            held.set()
            leave.wait(30)

    holder = threading.Thread(target=holds)
    holder.start()
    held.wait(30)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(there,))
    child.start()
    try:
        assert here.poll(20), "the child waits for ever"
        assert here.recv() == "free"
    finally:
        leave.set()
        holder.join()
        child.kill()
        child.join()
