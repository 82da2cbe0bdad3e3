"""A wire that brings a tensor from one layer of a block to a later one."""

from __future__ import annotations

import threading
import weakref
from typing import Any


class Wire(threading.local):
    """Brings a tensor from one layer of a block to a later one, past the block's own code.

    Each thread has its own, as replicas are traced in threads of their own. The block holds the
    tensor all the while, and the wire only points to it: nothing of a call outlasts it, however
    the call ends.
    """

    _tensor: Any = None

    def put(self, tensor: Any) -> None:
        """Keeps a tensor for the next `take`."""
        self._tensor = weakref.ref(tensor)

    def take(self) -> Any:
        """Returns what `put` was last given, once.

        Raises:
          ValueError: there is nothing, for the layer in front was not called.
        """
        held, self._tensor = self._tensor, None
        tensor = None if held is None else held()
        if tensor is None:
            raise ValueError(
                "what a parallel adapter reads is the input of its sub-layer, so its place cannot "
                "be called by itself: call the block, or the adapter with `inputs` and `output`"
            )
        return tensor

    def __reduce__(self) -> tuple[type, tuple[()]]:
        # What a thread has cannot be copied, and need not be.
        return Wire, ()
