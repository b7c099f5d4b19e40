"""The kernel's memory: one int64 array for everything, so that a call from Python passes few arguments.

``Memory`` names its parts: ``control`` (scalars), ``top`` (one row a symbol), ``lanes`` and ``params`` (the queue rules
that run), ``resting`` (a slot for each paper order in the venue's book), ``queues`` (its place under each rule),
``samples`` (its possible places, see queue_samples.py), ``places`` (slots in order of priority), ``taken`` (what we
consumed and the venue has not refreshed), ``fills`` (what the last call matched), ``twins`` (what the rules beside the
venue's own would have matched), ``levels`` (see book.py) and the ``ring`` of frames. The Python side holds views of the
same memory. Everything is bounded when the run starts.

A *lane* is one queue rule that is followed for every resting order. The first three are always there: the optimistic
bound, the pessimistic bound and the venue's own rule, which decides the order's life.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from engine.core.book import TOP_FIELDS, Books, Int64s
from engine.core.events import FRAME, FRAME_LEVELS, Frames
from engine.core.jit import borrowed, kernel
from engine.core.queues.queue_models import BACK, FRONT, RULES
from engine.core.queues.queue_settings import QueueSettings
from engine.core.types import NEVER_NS

if TYPE_CHECKING:
    from engine.core.types import Instrument

Float64s: TypeAlias = npt.NDArray[np.float64]

CONTROL_FIELDS = 64
# Scalars in ``control``.
(
    NEXT_DUE,  # engine time at which Python must act; the kernel stops before a frame at or after it
    NOW,  # engine time, never decreasing
    WAKE,  # why the kernel came back: WAKE_* bits
    WAKE_SYMBOL,  # the symbol of the frame it stopped after
    FRAME_FIRST,  # first row of that frame
    RING_USED,
    RING_ON,  # 1: write frames to the ring
    RESTING_COUNT,
    TAKEN_COUNT,
    FILL_COUNT,
    SYMBOLS,
    RESTING_ROOM,
    TAKEN_ROOM,
    FILL_ROOM,
    EXPLAIN_NS,  # how long a level change waits for the trade that explains it
    FRAMES_SEEN,
    GAPS_SEEN,
    DEPTH,
    RING_ROOM,
    CHECK_STATE,  # 0 none; ASKED: a frame waits for its checksum; PASSED or FAILED: Python's answer
    CHECK_VALUE,  # what the venue says
    HELD_FIRST,  # the frame that waits: its first row, and what was seen of it so far
    HELD_CHANGED,
    HELD_FLAGS,
    HELD_WAKE,
    HELD_REASON,
    LANES,
    SLOTS,  # room for resting orders, those that linger for their twins included
    SLOTS_USED,  # slots from here on were never in use
    SLOT_FREE,  # 1 + the first slot of the list of free ones, 0: none
    TWIN_COUNT,
    TWIN_ROOM,
    GRACE_NS,  # how long the twins of a filled order live on
    ALONE,  # 1: resting orders know nothing of each other (ghosts)
    CLAMPED,  # 1: no rule leaves the bounds
    URGENT,  # 1: the pessimist filled an order, which settles how sure a fill is
    PRINT_VENUE_NS,  # when the print of this moment was, the venue's clock, 0 where it gives none
    JOINED,  # how often an order came to the end of a queue
) = range(38)

ASKED, PASSED, FAILED = 1, 2, 3

# Bits of WAKE.
WAKE_DUE = 1  # something is due before the next frame
WAKE_BOOK = 2  # a book that a strategy listens to changed
WAKE_TRADE = 4  # trades that a strategy listens to
WAKE_STATE = 8  # a book became ready or fell in doubt
WAKE_FILL = 16  # resting paper orders traded
WAKE_RING = 32  # the ring of frames is full
WAKE_CHECK = 64  # a frame waits for Python to compare the venue's checksum
WAKE_FUNDING = 256  # the venue named another funding time (see marks.py)

WAKE_TWIN = 128  # the pessimist filled an order, or the table of what twins did is half full
WAKE_TRIGGER = 512  # a price is where somebody waits for it (see thresholds.py)

# Further columns of a symbol's row in ``top`` (see book.py for the first twelve). Our resting bids are ``OWN_COUNT``
# rows of the index from ``OWN_FIRST`` on, our asks the same one column further. 20 to 33: thresholds.py, the last
# eight: marks.py.
HEARS_BOOK, HEARS_TRADE, RESTING_HERE, TAKEN_HERE, OWN_FIRST, OWN_COUNT = 12, 13, 14, 15, 16, 18

LANE_FIELDS = 5
# Rows of ``lanes``: the rule's code; while a print is shared out what is left of it, what of it is spent before us,
# what orders of ours at the price got, and what the lower bounds of those still to come ask for.
LANE_RULE, LANE_BUDGET, LANE_BEFORE, LANE_GIVEN, LANE_RESERVED = range(LANE_FIELDS)
OPTIMIST, PESSIMIST, OWN = range(3)
OWN_RULE = -1
"""The code in the lane of the venue's own rule: each order says which."""

PARAM_FIELDS = 16
# Columns of ``params``, one row a symbol.
P_UNIT = 0  # one size unit in whole contracts or coins
P_SHARE = 1  # of a cancel what stands in front of the middle of a queue, as a logit; see implied.py
P_REACH, P_REACH_SHARE = 2, 3  # what follows from a share, and from which; see queue_samples.py

START_SHARE = -1.55
"""The share before anything was calibrated: measured on 101,000 cancels of single orders of the ES future."""

RESTING_FIELDS = 20
# Columns of ``resting``.
(
    R_ORDER,  # 0: the slot is free; below 0 a ghost, which knows nothing of others nor they of it
    R_SYMBOL,
    R_SIDE,
    R_PRICE,
    R_FIRST_AHEAD,  # public size in front when it came, size units
    R_RULE,  # code of the venue's own rule for it
    R_SHOWN,  # what the venue last said its level holds
    R_JOINED_NS,
    R_DONE_NS,  # when the venue's own rule had filled it, 0: not yet
    R_UNSURE,  # how many gaps it stood through
    R_NEXT,  # free slots: 1 + the next free one
    R_DISPLAY,  # of an iceberg the size that it shows at once, 0: all of it
    R_FRONT,  # size in front of its deciding place at the last print at its price
    R_JOINED_VENUE_NS,  # the venue's time of the book that it joined
    R_BEHIND,  # public size known to stay behind it as long as it rests: a ghost's own original, else 0
    R_TRADED,  # what the venue's own rule let it trade
    R_ANSWERED,  # 1: its level spoke after it had traded
    R_PRINTED,  # 1: a print at its price came after the level's last word
    R_WORST,  # what that print spends before it in the pessimist's lane, FINE units
) = range(19)

FINE = 256
"""Parts of one size unit in which queues are kept, as shares of a cancel are rarely whole; sizes stay below 2^54."""

QUEUE_FIELDS = 10
# Columns of ``queues``, for each slot and lane.
(
    Q_LEFT,  # what may still trade, size units
    Q_AHEAD,  # public size in front, FINE units
    Q_WAS,  # the same before the last fall of the level that no print has explained yet
    Q_FELL,  # how much of that fall is unexplained, size units
    Q_FELL_NS,
    Q_FROM,  # the level's size before it
    Q_TRADED,  # prints at the price that no level change has confirmed yet, size units
    Q_SLICE,  # of an iceberg what is left of the part that it shows, size units
    Q_ROW,  # where its fill of this frame stands in ``fills`` or ``twins``
    Q_SINCE,  # when it came to the end of the queue, counted by JOINED; an iceberg's part each for itself
) = range(QUEUE_FIELDS)

SAMPLES = 16
"""Possible places in the queue that are followed for each order (see queue_samples.py)."""

SAMPLE_FIELDS = 9 + 2 * SAMPLES
# Columns of ``samples``, for each slot; sizes in size units.
(
    S_UNANSWERED,  # prints at the price that no level change has answered yet
    S_UNANSWERED_NS,  # the last of them
    S_FELL,  # the last fall of the level, where no print was waiting for it; 0: none
    S_FELL_NS,
    S_FROM,  # the level before it
    S_SET,  # how much of it later prints explained
    S_DRAW,  # the counter of the draws; that of the fall can be told from it
    S_REACHED,  # how many places prints have reached
    S_MOST,  # no place has more in front
    S_AHEAD,  # from here on: the size in front of each place, before the unanswered prints
) = range(10)
S_WAS = S_AHEAD + SAMPLES  # from here on: the same before the last fall

TAKEN_FIELDS = 4
# Columns of ``taken``; then one for each lane with the size. OWNER: 0, or the order where orders are alone.
T_SYMBOL, T_SIDE, T_PRICE, T_OWNER = range(TAKEN_FIELDS)

FRAME_FIELDS = FRAME.itemsize // 8
# Columns of ``ring``: the fields of FRAME, all int64.
FR_SYMBOL, FR_RECV_NS, FR_VENUE_NS, FR_ID, FR_FLAGS, FR_BID = range(6)
FR_BID_SIZE = FR_BID + FRAME_LEVELS
FR_ASK = FR_BID_SIZE + FRAME_LEVELS
FR_ASK_SIZE = FR_ASK + FRAME_LEVELS
FR_BUY_SIZE = FR_ASK_SIZE + FRAME_LEVELS
FR_SELL_SIZE, FR_BUYS, FR_SELLS, FR_LAST_PRICE = range(FR_BUY_SIZE + 1, FR_BUY_SIZE + 5)

FILL_FIELDS = 9
F_ORDER, F_PRICE, F_SIZE, F_MAKER, F_AHEAD, F_AHEAD_NOW, F_RULE, F_CAUSE, F_CHANCE = range(FILL_FIELDS)

CAUSE_TAKEN, CAUSE_AT_PRICE, CAUSE_THROUGH, CAUSE_CROSSED = range(4)
"""Why an order traded: it took what was displayed; prints at its price used up the queue in front; a print went through
its price; the other side's display reached it."""

TWIN_FIELDS = 6
W_ORDER, W_LANE, W_PRICE, W_SIZE, W_CAUSE, W_NS = range(TWIN_FIELDS)

LINGER_ROOM = 1024
"""Most filled orders whose twins live on."""


class Memory(NamedTuple):
    """The parts of the kernel's one array, as a kernel hands them to another."""

    control: Int64s
    top: Int64s
    lanes: Int64s
    params: Float64s
    resting: Int64s
    queues: Int64s
    samples: Int64s
    places: Int64s
    taken: Int64s
    fills: Int64s
    twins: Int64s
    levels: Int64s
    ring: Int64s


@kernel
def memory_of(flat: Int64s) -> Memory:
    """The parts of the array, for kernels; ``control`` says how large each is. Python has them in ``State.memory``."""
    flat = borrowed(flat)
    control = flat[:CONTROL_FIELDS]
    symbols, lanes, slots = control[SYMBOLS], control[LANES], control[SLOTS]
    a = CONTROL_FIELDS
    b = a + symbols * TOP_FIELDS
    top = flat[a:b].reshape(symbols, TOP_FIELDS)
    a, b = b, b + LANE_FIELDS * lanes
    rules = flat[a:b].reshape(LANE_FIELDS, lanes)
    a, b = b, b + symbols * PARAM_FIELDS
    params = flat[a:b].view(np.float64).reshape(symbols, PARAM_FIELDS)
    a, b = b, b + slots * RESTING_FIELDS
    resting = flat[a:b].reshape(slots, RESTING_FIELDS)
    a, b = b, b + slots * lanes * QUEUE_FIELDS
    queues = flat[a:b].reshape(slots, lanes, QUEUE_FIELDS)
    a, b = b, b + slots * SAMPLE_FIELDS
    samples = flat[a:b].reshape(slots, SAMPLE_FIELDS)
    a, b = b, b + 3 * slots
    places = flat[a:b].reshape(3, slots)
    a, b = b, b + control[TAKEN_ROOM] * (TAKEN_FIELDS + lanes)
    taken = flat[a:b].reshape(control[TAKEN_ROOM], TAKEN_FIELDS + lanes)
    a, b = b, b + control[FILL_ROOM] * FILL_FIELDS
    fills = flat[a:b].reshape(control[FILL_ROOM], FILL_FIELDS)
    a, b = b, b + control[TWIN_ROOM] * TWIN_FIELDS
    twins = flat[a:b].reshape(control[TWIN_ROOM], TWIN_FIELDS)
    a, b = b, b + symbols * 4 * control[DEPTH]
    levels = flat[a:b].reshape(symbols, 2, 2, control[DEPTH])
    a, b = b, b + control[RING_ROOM] * FRAME_FIELDS
    ring = flat[a:b].reshape(control[RING_ROOM], FRAME_FIELDS)
    return Memory(control, top, rules, params, resting, queues, samples, places, taken, fills, twins, levels, ring)


def _nobody(order: int, lane: int) -> None:
    """Hears of ghost orders where there are none."""


class State:
    """All memory of the kernel for one run."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        depth: int,
        *,
        max_orders: int,
        explain_ns: int,
        taken_room: int,
        ring_room: int = 8192,
        queue: QueueSettings | None = None,
        ghosts: int = 0,
    ) -> None:
        symbols = len(instruments)
        queue = queue or QueueSettings()
        rules = [FRONT, BACK, OWN_RULE, *(RULES.index(name) for name in queue.twins if name != queue.rule)]
        slots = max_orders + min(max_orders, LINGER_ROOM) + ghosts
        control = np.zeros(CONTROL_FIELDS, np.int64)
        control[NEXT_DUE] = NEVER_NS
        control[SYMBOLS] = symbols
        control[LANES] = len(rules)
        control[RESTING_ROOM] = max_orders
        control[SLOTS] = slots
        control[TAKEN_ROOM] = taken_room
        # One frame fills each resting order at most once; one taker walks at most every level of a side.
        control[FILL_ROOM] = slots + depth
        # Python is woken when half of it is used, and one frame needs at most the other half.
        control[TWIN_ROOM] = 2 * slots * len(rules)
        control[EXPLAIN_NS] = explain_ns
        control[GRACE_NS] = queue.twin_grace_ns
        control[CLAMPED] = 1
        control[DEPTH] = depth
        control[RING_ROOM] = ring_room
        room = (
            CONTROL_FIELDS
            + symbols * (TOP_FIELDS + PARAM_FIELDS + 4 * depth)
            + len(rules) * LANE_FIELDS
            + slots * (RESTING_FIELDS + len(rules) * QUEUE_FIELDS + SAMPLE_FIELDS + 3)
            + taken_room * (TAKEN_FIELDS + len(rules))
            + (slots + depth) * FILL_FIELDS
            + 2 * slots * len(rules) * TWIN_FIELDS
            + ring_room * FRAME_FIELDS
        )
        self.flat: Int64s = np.zeros(room, np.int64)
        self.flat[:CONTROL_FIELDS] = control
        parts_of: Callable[[Int64s], Memory] = getattr(memory_of, "py_func", memory_of)
        memory = self.memory = parts_of(self.flat)
        self.control = memory.control
        self.books = Books(tuple(instruments), depth, top=memory.top, levels=memory.levels)
        self.lanes, self.params = memory.lanes, memory.params
        self.resting, self.queues, self.samples = memory.resting, memory.queues, memory.samples
        self.places, self.taken, self.fills, self.twins = memory.places, memory.taken, memory.fills, memory.twins
        self.ring: Frames = self.flat[room - ring_room * FRAME_FIELDS :].view(FRAME)
        self.lanes[LANE_RULE] = rules
        self.params[:, P_SHARE] = START_SHARE
        self.params[:, P_UNIT] = [10.0**-each.size_decimals for each in instruments]
        self.on_ghost: Callable[[int, int], None] = _nobody
        """Hears the number of a ghost order and the lane that filled it."""
        self.rule = RULES.index(queue.rule)
        self.lane_names = ("front", "back", queue.rule, *(RULES[code] for code in rules[OWN + 1 :]))
