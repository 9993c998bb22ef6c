"""Imports the user's code by its name, and describes its errors in one line."""

import importlib
import importlib.util
import re
import sys
import traceback
from typing import Any

from fanout import printable
from fanout.errors import SettingError

OURS = {"fanout", "publisher", "subscriber"}
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def check_name(setting: str, name: str, example: str) -> None:
    """Check that a name has the form `module:function`.

    Raises:
        SettingError: it has not.
    """
    if not NAME.fullmatch(name):
        raise SettingError(setting, name, f"module:function, such as {example}")


def load(setting: str, name: str, requirements: str) -> Any:
    """Import the object that a setting names.

    Args:
        setting: the setting's name.
        name: the setting's value, `module:function`.
        requirements: the file to which the user adds packages that the module needs.

    Raises:
        SettingError: the module or the object does not exist, a package that it needs is not installed, or the import
            fails.
    """
    module_name, _, wanted = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if f"{module_name}.".startswith(f"{missing}."):
            raise SettingError(setting, name, f"module:function with a module that exists ({error})") from None
        if not missing or _exists(missing.partition(".")[0]):  # the package is installed, but lacks this module
            raise _not_imported(setting, name, error) from error
        add = f"add its package to {requirements}, then make lock and make up"
        raise SettingError(
            setting, name, f"in a module that can be imported; it needs {missing!r}, which is not installed: {add}"
        ) from None
    except BaseException as error:  # SystemExit too: the code of a sys.exit() would look like one of ours
        raise _not_imported(setting, name, error) from error
    try:
        return getattr(module, wanted)
    except AttributeError:
        raise SettingError(setting, name, f"module:function; {module_name} has no {wanted!r}") from None


def describe(error: BaseException) -> str:
    """Return an exception's type and text, and the line of the user's code that raised it."""
    places = [
        f", {frame.f_code.co_filename} line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__", "").partition(".")[0] not in OURS
        and not frame.f_code.co_filename.startswith(("<", sys.prefix, sys.base_prefix))
    ]
    return f"{type(error).__name__}: {printable.text(error)}{places[-1] if places else ''}"


def _not_imported(setting: str, name: str, error: BaseException) -> SettingError:
    return SettingError(setting, name, f"module:function with a module that can be imported ({describe(error)})")


def _exists(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # it is loaded, but has no __spec__
        return True
