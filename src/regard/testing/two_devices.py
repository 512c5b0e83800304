"""A device that a machine without one can watch: who moves there, and who stays behind.

The accelerator is ``cpu:0``, the host ``cpu``: torch computes on both alike, and tells them apart by name. Every torch
function that Python calls passes by the recorder, which remembers for each tensor where it would lie on a machine with
an accelerator, answers ``.device`` accordingly, and raises where a real accelerator would: where a tensor of one meets
one of the other, and where numpy looks at memory that is not the host's.

What torch makes out of Python's sight (in a backward pass, in a compiled program) is of no place, and meets all.
"""

import functools
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

ACCELERATOR = torch.device("cpu", 0)
"""Stands for a device other than the host."""

CROSSING = {"copy_", "is_set_to", "_has_compatible_shallow_copy_type", "load_state_dict"}
"""Functions that take tensors of two devices."""

TO_NUMPY = {"numpy", "__array__"}


class DevicesApartError(RuntimeError):
    """Tensors of two devices met."""


class Devices(TorchFunctionMode):
    """Follow every tensor, and raise where an accelerator would."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[int, tuple[weakref.ref[Tensor], bool]] = {}
        self.n_there = 0

    def there(self, tensor: Tensor) -> bool | None:
        """Whether a tensor lies on the accelerator; None where that is not known."""
        known = self._places.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        return False if isinstance(tensor, nn.Parameter) else None

    def put(self, value: Any, there: bool | None) -> Any:
        """Remember where tensors lie."""
        for tensor in tree_leaves(value):
            if isinstance(tensor, Tensor) and there is not None:
                self.n_there += there
                key = id(tensor)
                self._places[key] = (weakref.ref(tensor, functools.partial(self._gone, key)), there)
        return value

    def _gone(self, key: int, _: object) -> None:
        known = self._places.get(key)
        if known is not None and known[0]() is None:
            del self._places[key]

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        owner = getattr(getattr(func, "__self__", None), "__name__", "")
        if name == "__get__" and owner == "device":
            return ACCELERATOR if self.there(args[0]) else func(*args, **kwargs)
        if name == "__set__" and owner == "data":
            func(*args, **kwargs)
            self.put(args[0], self.there(args[1]))
            return None
        if name in TO_NUMPY and self.there(args[0]):
            raise DevicesApartError(f"{name}() of a tensor on the accelerator; expected .cpu() first")
        if name == "__deepcopy__":
            return self.put(func(*args, **kwargs), self.there(args[0]))
        if name in ("to", "cpu") and args and isinstance(args[0], Tensor):
            return self._moved(func, name, args, kwargs)
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        places = [self.there(t) for t in tensors]
        device = kwargs.get("device")
        if name not in CROSSING:
            self._meet(func, name, args, tensors, places)
        given = func(*args, **kwargs)
        if device is not None:
            there: bool | None = torch.device(device) == ACCELERATOR
            if any(given is t for t in tensors) and self.there(given) is not there:
                given = given.clone()
                tensors = []
        elif any(places):
            there = True
        elif not tensors or False in places:
            there = False
        else:
            there = None
        if name in CROSSING or any(given is t for t in tensors):
            return given  # in place: where it lay
        return self.put(given, there) if _makes(given) else given

    def _moved(self, func: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        tensor, there = args[0], self.there(args[0])
        wanted: bool | None = False if name == "cpu" else there
        for one in (*args[1:], kwargs.get("device"), kwargs.get("other")) if name == "to" else ():
            if isinstance(one, (str, torch.device)) and not isinstance(one, torch.dtype):
                wanted = torch.device(one) == ACCELERATOR
            elif isinstance(one, Tensor):
                wanted = self.there(one)
        given = func(*args, **kwargs)
        if given is tensor and wanted is not there:
            given = tensor.clone()  # as a copy between devices is
        return self.put(given, wanted)

    @staticmethod
    def _meet(func: Any, name: str, args: Sequence[Any], tensors: list[Tensor], places: list[bool | None]) -> None:
        if True not in places or False not in places:
            return
        behind = [t for t, there in zip(tensors, places, strict=True) if there is False]
        if all(t.dim() == 0 for t in behind):
            return
        if name in ("__getitem__", "__setitem__", "index_put_") and places[0]:
            return  # an index may lie on the host
        shapes = [(tuple(t.shape), "there" if p else "host") for t, p in zip(tensors, places, strict=True)]
        try:
            known = resolve_name(func) or name
        except Exception:
            known = name
        raise DevicesApartError(f"{known} of tensors on two devices: {shapes}")


def _makes(given: Any) -> bool:
    return any(isinstance(t, Tensor) for t in tree_leaves(given))


@contextmanager
def two_devices() -> Iterator[Devices]:
    """Within this context ``cpu:0`` is an accelerator and ``cpu`` the host."""
    with Devices() as devices, ExitStack() as patched:
        # These make tensors without being torch functions that a mode sees.
        makers = ((torch, "from_numpy"), (torch, "frombuffer"), (torch, "load"), (safetensors.torch, "load_file"))
        for module, name in makers:
            patched.enter_context(mock.patch.object(module, name, _on_host(devices, getattr(module, name))))
        make = Tensor._make_subclass
        patched.enter_context(mock.patch.object(Tensor, "_make_subclass", staticmethod(_as(devices, make))))
        yield devices


def _as(devices: Devices, make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)
    def made(cls: type, data: Tensor, *args: Any, **kwargs: Any) -> Any:
        return devices.put(make(cls, data, *args, **kwargs), devices.there(data))

    return made


def _on_host(devices: Devices, function: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **kwargs: Any) -> Any:
        return devices.put(function(*args, **kwargs), False)

    return made
