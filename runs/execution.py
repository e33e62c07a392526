"""Where a function over many items is computed: in this process, or wherever a registered executor takes it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from runs.registry import Registry

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(ABC):
    """Computes items that do not depend on each other. Function, items and results must be picklable."""

    @abstractmethod
    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield `function(item)` in the order of `items`, each as soon as it and those before it are there.

        An exception of `function` is raised where its result would have stood, after the results before it.
        """


EXECUTORS: Registry[Callable[[], Executor]] = Registry("executor")


@EXECUTORS.register("local")
class LocalExecutor(Executor):
    """One item after another in this process; nothing is computed before it is asked for."""

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return map(function, items)
