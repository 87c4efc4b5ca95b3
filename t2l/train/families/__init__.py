"""Task families whose instruction stands only in the description; see `tasks`."""

from t2l.train.families.core import Item
from t2l.train.families.tasks import KINDS, Task, make_item, split_of, tasks

__all__ = ["KINDS", "Item", "Task", "make_item", "split_of", "tasks"]
