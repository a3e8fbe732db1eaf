# SPDX-License-Identifier: MIT
"""Memory of greenlets' stacks and frames from stores of our own, in a process
of its own: they stay for good there."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.smoke

PREPARE = """
    import random, sys, threading
    import greenlet
    from greenloop import _core

    kept = [bytearray(n) for n in range(400, 9000, 100)]
    before = [[number] * 300 for number in range(50)]
    _core.keep_stacks_warm()
    _core.keep_stacks_warm()  # harmless

    def deep(n, hub):
        # Through C, so that the C stack grows as well.
        if n == 0:
            return hub.switch()
        return sum(map(lambda _: deep(n - 1, hub), [0]))
"""


def check(code: str) -> None:
    source = textwrap.dedent(PREPARE) + textwrap.dedent(code)
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONMALLOC"}
    environ.pop("PYTHONDEVMODE", None)
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=environ,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_stacks_of_all_depths_come_back_whole() -> None:
    check("""
        random.seed(3)
        hub = greenlet.getcurrent()
        parked = []
        for number in range(3000):
            if parked and random.random() < 0.45:
                g, n = parked.pop(random.randrange(len(parked)))
                assert g.switch(n) == n and g.dead
            else:
                g = greenlet.greenlet(deep)
                g.switch(random.randrange(12), hub)
                parked.append((g, number))
        while parked:
            g, n = parked.pop()
            assert g.switch(n) == n
    """)


def test_lists_grow_and_shrink_across_the_store() -> None:
    check("""
        random.seed(5)
        lists = before + [[] for _ in range(200)]
        shadow = [len(one) for one in lists]
        for _ in range(200000):
            at = random.randrange(len(lists))
            if random.random() < 0.55:
                lists[at].append(at)
                shadow[at] += 1
            elif shadow[at] > 40:
                del lists[at][-40:]
                shadow[at] -= 40
        assert [len(one) for one in lists] == shadow
        assert all(set(one[300:]) <= {at} for at, one in enumerate(lists))
    """)


def test_other_threads_take_none_and_give_back() -> None:
    check("""
        lists = [list(range(200)) for _ in range(500)]

        def work():
            hub = greenlet.getcurrent()
            parked = [greenlet.greenlet(deep) for _ in range(100)]
            for g in parked:
                g.switch(5, hub)
            for n, g in enumerate(parked):
                assert g.switch(n) == n
            while True:
                try:
                    lists.pop()
                except IndexError:
                    return

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        again = [list(range(200)) for _ in range(500)]
        assert all(one == list(range(200)) for one in again)
    """)


def test_greenlets_that_end_leave_their_frames_to_the_next() -> None:
    check("""
        import resource

        def faults():
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            for number in range(2000):
                g = greenlet.greenlet(lambda n: recur(n) + 1)
                assert g.switch(number % 4) == number % 4 + 1
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        def recur(n):
            return 0 if n == 0 else recur(n - 1) + 1

        faults()
        few = faults()
        assert few < 1000, few
    """)


def test_frames_of_all_depths_are_whole() -> None:
    check("""
        random.seed(7)
        hub = greenlet.getcurrent()

        def recur(n, mark):
            if n == 0:
                return hub.switch(mark)
            local = [mark] * 3
            below = recur(n - 1, mark)
            assert local == [mark] * 3
            return below

        parked = []
        for number in range(3000):
            if parked and random.random() < 0.4:
                g, mark = parked.pop(random.randrange(len(parked)))
                assert g.switch(mark) == mark and g.dead
            else:
                g = greenlet.greenlet(recur)
                # Some need a second chunk, and a third.
                assert g.switch(random.choice([1, 30, 300]), number) == number
                parked.append((g, number))
        while parked:
            g, mark = parked.pop()
            assert g.switch(mark) == mark
    """)
