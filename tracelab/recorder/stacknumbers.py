"""Equal stacks get equal numbers, for a batch of samples at once."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from tracelab.recorder.maps import U64, Ints


class StackNumbers:
    """Numbers of stacks, from 1: equal stacks have the same, as long as it is remembered.

    A stack is recognised by a hash of 64 random bits for each of its nodes and a random factor for each place: a
    million stacks have one chance in 30 million that two of them are taken for one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._last = 0
        self._known: OrderedDict[int, int] = OrderedDict()
        self._random = np.random.default_rng()
        self._word = self._words(1 << 12)  #: of each node
        self._word[0] = 0
        self._factor = np.zeros((2, 0), np.uint64)  #: of each place in the user's stack, and in the kernel's

    def __len__(self) -> int:
        return len(self._known)

    def of(self, user: Ints, user_count: Ints, kernel: Ints, kernel_count: Ints) -> tuple[Ints, Ints]:
        """Numbers of stacks, shape (samples,), and of each that is new the first sample that has it.

        Each row of `user` and `kernel` holds nodes, of which as many count as its count says.
        """
        hashes = self._hashed(user, user_count, 0) + self._hashed(kernel, kernel_count, 1)
        distinct, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        numbers = np.zeros(len(distinct), np.int64)
        new = []
        for n in np.argsort(first).tolist():
            key = int(distinct[n])
            known = self._known.get(key)
            if known is None:
                self._last = known = self._known[key] = self._last + 1
                new.append(first[n])
            else:
                self._known.move_to_end(key)
            numbers[n] = known
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return numbers[inverse], np.array(new, np.int64)

    def forget(self) -> None:
        """Nodes mean something else from now on."""
        self._known.clear()

    def _hashed(self, nodes: Ints, count: Ints, side: int) -> U64:
        places = nodes.shape[1]
        if (most := int(nodes.max(initial=0)) + 2) > len(self._word):
            self._word = np.concatenate([self._word, self._words(most)])
        if places > self._factor.shape[1]:
            self._factor = np.hstack([self._factor, self._words(2 * (places + 64)).reshape(2, -1)])
        node = np.where(np.arange(places) < count[:, None], nodes + 1, 0)
        hashed: U64 = (self._word[node] * self._factor[side, :places]).sum(axis=1, dtype=np.uint64)
        return hashed

    def _words(self, number: int) -> U64:
        return self._random.integers(1 << 64, size=number, dtype=np.uint64) | np.uint64(1)
