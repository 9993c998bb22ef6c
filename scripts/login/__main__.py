"""Creates keys for the login, or prints a token.

python -m login keys     creates auth_private.pem and auth_public.pem in compose/secrets, unless they are there
python -m login token    prints a token: SUB, SUBSCRIBE, PUBLISH, DASHBOARD, EXP, AUTH_ISSUER, AUTH_AUDIENCE say which
"""

import argparse
import os
import sys
from pathlib import Path

from fanout.environment import Environment
from fanout.errors import SettingError
from login.issue import token
from login.keys import NotCreated, create
from run import ROOT

SECRETS = ROOT / "compose/secrets"


def main() -> int:
    parser = argparse.ArgumentParser(prog="login", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("command", choices=["keys", "token"])
    parser.add_argument("--folder", type=Path, default=SECRETS, help="where the keys are")
    given = parser.parse_args()
    try:
        if given.command == "keys":
            for line in create(given.folder):
                print(f"fanout: {line}")
        else:
            print(token(Environment(os.environ), given.folder))
    except SettingError as error:
        print(f"fanout: {error}", file=sys.stderr)
        return 2
    except NotCreated as error:
        print(f"fanout: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
