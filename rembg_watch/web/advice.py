"""What a person can do about each reason for which pictures stand still; one row for each code."""

from collections.abc import Mapping

from rembg_watch.decide import WAITS
from rembg_watch.jobs import State

_EXPORT_AGAIN = "Export it again from the camera program, under the same name: the new file is taken by itself."
_SMALLER = "Export it smaller, under the same name: the new file is taken by itself."

ADVICE: Mapping[str, str] = {
    "answer_lost": "Its paid answer is gone from the spool. Retry it; that is another credit.",
    "broken": _EXPORT_AGAIN,
    "changed": "It changed while it was read. It is taken again once it has settled.",
    "downgraded": "Look at the account, then at the picture: approve delivers it as it is, redo pays for another one.",
    "destination_not_writable": "Let the daemon's user write into that folder; it goes on by itself.",
    "empty": _EXPORT_AGAIN,
    "gone": "It was taken away before it could be read. Put it back.",
    "missing_library": "Install what the reason names, then retry it.",
    "needs_extra": "Install what the reason names, then retry it.",
    "no_free_connection": "Retry it: too many calls were under way.",
    "no_name": "Another picture has its name in the output. Rename it, or the other one.",
    "not_a_picture": "Something else has the ending of a picture. Take it out of the folder.",
    "not_whole": "It was not copied to its end. Copy it again.",
    "picture_corrupt": _EXPORT_AGAIN,
    "picture_empty": _EXPORT_AGAIN,
    "picture_not_readable": "Let the daemon's user read it, then retry it.",
    "picture_too_large": _SMALLER,
    "picture_too_tall": _SMALLER,
    "picture_too_wide": _SMALLER,
    "picture_type_unsupported": "Export it as JPEG, PNG or WebP.",
    "picture_unreadable": "Let the daemon's user read it, then retry it.",
    "review": "Look at it: approve delivers it at no cost, reject never does, redo pays for another one.",
    "taken": "Another file stands at its place in the output. Move that one away, then retry it.",
    "too_large": _SMALLER,
    "too_wide": _SMALLER,
    "truncated": _EXPORT_AGAIN,
    "unreadable": "Let the daemon's user read it, then retry it.",
    "wrong_size": "Look at it: approve delivers it as it is at no cost, reject never does, redo pays for another one.",
    "wrong_type": "The answer was of another format than asked for. Retry it; if that happens again, ask the vendor.",
}

_BY_STATE: Mapping[State, str] = {
    State.FAILED: "Correct what the reason says, then retry it. An export under the same name is taken by itself.",
    State.HELD: "It waits for a decision or a setting. Correct that, then retry it.",
    State.IN_DOUBT: "It was sent and no answer came; it may have been charged. Retry it if that may cost a credit.",
}

_COMMANDS: Mapping[State, str] = {
    State.FAILED: "rembg-watch retry --state failed --folder {folder}",
    State.HELD: "rembg-watch retry --state held --folder {folder}",
    State.IN_DOUBT: "rembg-watch retry --state in_doubt --folder {folder}",
}


def advice(state: State, code: str | None) -> str:
    """Say what to do about pictures of one state with one code."""
    return ADVICE.get(code or "", _BY_STATE.get(state, "")) if state is not State.IN_DOUBT else _BY_STATE[state]


def command(state: State, folder: str, code: str | None = None) -> str:
    """Return the command for the pictures of a folder that stand still: to deliver them, or to try them again."""
    plain = folder if folder.isascii() and folder.replace("-", "").replace("_", "").isalnum() else _quoted(folder)
    if state is State.HELD and code in WAITS:
        return f"rembg-watch accept '*' --folder {plain}"
    return _COMMANDS[state].format(folder=plain) if state in _COMMANDS else ""


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"
