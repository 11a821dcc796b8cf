"""
What a form asks for: an act, the pictures that are meant, and how many of them somebody has agreed to.

Values and sentences; nothing is read or changed here. What is no such order is none: no form of ours says it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from rembg_watch.decide import Act, most_credits
from rembg_watch.jobs import State
from rembg_watch.report.words import count_text, credits_text

MOST_AT_ONCE = 20_000
"""Pictures of one order; what is more is for the command."""

PAUSE, RESUME = "pause", "resume"

_SAID: Mapping[Act, str] = {
    Act.APPROVE: "approved",
    Act.REJECT: "rejected",
    Act.UNDO: "without a verdict again",
    Act.RETRY: "put back in line",
    Act.REDO: "put in line to be made anew",
}
_VERBS: Mapping[Act, str] = {
    Act.APPROVE: "Approve",
    Act.REJECT: "Reject",
    Act.UNDO: "Take the verdict back on",
    Act.RETRY: "Try again",
    Act.REDO: "Make anew",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """
    What is wanted of which pictures.

    Attributes:
        act: What is to be done.
        ids: These pictures.
        shoot: All of the shoot in which this picture lies.
        folder: Those of this folder, of one *state* and *code*.
        state: See *folder*.
        code: See *folder*; empty: those without one; None: of any.
        most: To how many pictures somebody has agreed; None: nobody was asked.
        back: Where to go on, as a path of this page.
    """

    act: Act
    ids: tuple[int, ...] = ()
    shoot: int | None = None
    folder: str | None = None
    state: State | None = None
    code: str | None = None
    most: int | None = None
    back: str = ""

    @property
    def fields(self) -> list[tuple[str, str]]:
        """What a form says for this order, but for *most*."""
        said = [("do", self.act.value), *(("id", str(one)) for one in self.ids)]
        said += [("shoot", str(self.shoot))] if self.shoot is not None else []
        if self.folder is not None and self.state is not None:
            said += [("folder", self.folder), ("state", self.state.value)]
            said += [("code", self.code)] if self.code is not None else []
        return [*said, ("back", self.back)]


Form = Mapping[str, Sequence[str]]


def order_of(form: Form) -> Order | None:
    """Read a form; None: it says nothing that could be done."""
    act = _one(form, "do")
    if act not in list(Act):
        return None
    ids = tuple(int(one) for one in form.get("id", ()) if _is_number(one))[:MOST_AT_ONCE]
    shoot, state, most = _one(form, "shoot"), _one(form, "state"), _one(form, "most")
    order = Order(act=Act(act), most=int(most) if _is_number(most) else None, back=local(_one(form, "back")))
    if ids:
        return replace(order, ids=ids)
    if _is_number(shoot):
        return replace(order, shoot=int(shoot))
    if form.get("folder") and state in list(State):
        return replace(
            order, folder=form["folder"][0], state=State(state), code=_one(form, "code") if form.get("code") else None
        )
    return None


def _one(form: Form, name: str) -> str:
    return next(iter(form.get(name, ())), "")


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 19


def local(path: str) -> str:
    """Return a path of this very page, or nothing: no form sends anybody elsewhere."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and len(path) < 2_000
    return path if is_ours and path.isascii() and path.isprintable() and "\\" not in path else ""


def question(act: Act, count: int, *, per_image: Decimal) -> str:
    """Say what would be done with how many pictures, and what it may cost."""
    most = most_credits(act, count, per_image=per_image)
    price = f" This may cost up to {credits_text(most)}." if most else " This costs nothing."
    return f"{_VERBS[act]} {count_text(count, 'picture')}?{price}"


def button(act: Act, count: int, *, per_image: Decimal) -> str:
    """Name the button that does it."""
    most = most_credits(act, count, per_image=per_image)
    return f"{_VERBS[act]} {count_text(count, 'picture')}" + (f", up to {credits_text(most)}" if most else "")


def came_to(word: str, count: str) -> str:
    """Say what was done, from the two words that stand in the address afterwards; empty for anything else."""
    if not _is_number(count):
        return ""
    number = int(count)
    if word in list(Act):
        if number == 0:
            return "Nothing was changed: what was meant is no longer as it was shown."
        return f"{count_text(number, 'picture')} {_SAID[Act(word)]}."
    return {PAUSE: "Paused: nothing more is sent.", RESUME: "It goes on."}.get(word, "")
