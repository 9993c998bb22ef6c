# shellcheck shell=sh
# Shared by the shell scripts: reads .env and finds what this machine has. Sourced with $root set.

# The environment has precedence over .env, as in Compose.
dotenv=$(LC_ALL=C awk -f "$root/scripts/run/dotenv.awk" "$root/.env") || exit 2
eval "$dotenv"

# So that the Python programs in scripts/ find one another and the library.
export PYTHONPATH="$root/scripts:$root/services/fanout"

say() { printf 'fanout: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

have_engine() { command -v docker >/dev/null && docker version >/dev/null 2>&1; }

# Prints the command of Compose, or nothing. Versions before 2.24 lack what the layers use.
compose_command() {
  for candidate in "docker compose" "docker-compose" "$root/.venv/bin/docker-compose"; do
    # shellcheck disable=SC2086 # two words on purpose
    version=$($candidate version --short 2>/dev/null) || continue
    major=${version#v} minor=${version#*.}
    major=${major%%.*} minor=${minor%%.*}
    [ "$major" -gt 2 ] || { [ "$major" -eq 2 ] && [ "$minor" -ge 24 ]; } || continue
    echo "$candidate"
    return
  done
}

# Prints the first Python that is new enough, or nothing.
find_python() {
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.14; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

# Prints the Python of .venv if it exists, else what find_python finds.
any_python() { if [ -x "$root/.venv/bin/python" ]; then echo "$root/.venv/bin/python"; else find_python; fi; }

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

# Whether docker/base/build made an image. Images built on top of one inherit its label, but have a longer history.
is_stand_in() {
  [ -n "$(docker image inspect -f '{{index .Config.Labels "org.fanout.stand-in"}}' "$1" 2>/dev/null)" ] &&
    [ "$(docker history -q "$1" | wc -l)" -eq 1 ]
}

# Prints the base images that the chosen layers need, by their names in docker/base/build.
base_images() { echo python redis; if layer metrics; then echo prometheus; fi; }

image_called() {
  case $1 in
    python) echo "$PYTHON_IMAGE" ;;
    redis) echo "$REDIS_IMAGE" ;;
    prometheus) echo "$PROMETHEUS_IMAGE" ;;
  esac
}

# Starts to download an image, and returns once the registry has answered: 0 if it has the image, 2 if it refuses it, 1 if
# no registry answers; $why says why not. The engine prints "Pulling from" before a download, however long that takes.
begin_pull() {
  said=$(mktemp)
  docker pull "$1" >"$said" 2>&1 &
  pull=$!
  trap 'kill "$pull" 2>/dev/null; exit 130' INT TERM
  tries=0
  while kill -0 "$pull" 2>/dev/null && ! grep -q 'Pulling from' "$said"; do
    if [ "$tries" -eq 100 ]; then
      kill "$pull"
      why="no image registry in reach: none has answered within 20 s"
      return 1
    fi
    tries=$((tries + 1))
    sleep 0.2
  done
  if grep -q 'Pulling from' "$said"; then return 0; fi
  why="the registry refuses the image $1: $(tail -n 1 "$said")"
  if grep -Eqi 'manifest|not found|denied|unauthorized|toomanyrequests|rate limit' "$said"; then return 2; fi
  why="no image registry in reach: $(tail -n 1 "$said")"
  return 1
}

end_pull() {
  trap - INT TERM
  rm -f "$said"
}

# Downloads the base images that are missing. If that fails, $why says why, and the result is begin_pull's.
fetch_images() {
  for name in $(base_images); do
    image=$(image_called "$name")
    have_image "$image" && continue
    say "looking for the image $image ..."
    if begin_pull "$image"; then
      say 'downloading it ...'
      result=0
      wait "$pull" || {
        why="the download of $image failed: $(tail -n 1 "$said")"
        result=2
      }
    else
      result=$?
    fi
    end_pull
    [ "$result" -eq 0 ] || return "$result"
  done
}

# Compose 5 needs buildx 0.17 or later to build.
have_buildx() {
  version=$(docker buildx version 2>/dev/null | sed -n 's/^[^ ]* v\{0,1\}\([0-9]*\.[0-9]*\).*/\1/p')
  [ -n "$version" ] && { [ "${version%%.*}" -gt 0 ] || [ "${version#*.}" -ge 17 ]; }
}

# LAYERS="prod gateway" selects these files of compose/ on top of base.yaml; without it COMPOSE_FILE decides.
choose_layers() {
  [ -n "${LAYERS:-}" ] || return 0
  COMPOSE_FILE=compose/base.yaml
  for layer in $LAYERS; do
    [ -f "$root/compose/$layer.yaml" ] && [ "$layer" != common ] ||
      fail "LAYERS names '$layer', but the layers are:$(cd "$root/compose" && ls ./*.yaml | sed '/\/common\.yaml$/d; s|^\./| |; s|\.yaml$||' | tr -d '\n')"
    [ "$layer" = base ] || COMPOSE_FILE=$COMPOSE_FILE:compose/$layer.yaml
  done
  export COMPOSE_FILE
}

# Prints the chosen layers that are not among the arguments.
layers_beside() {
  printf '%s\n' "$COMPOSE_FILE" | tr : '\n' | while IFS= read -r file; do
    name=${file##*/}
    name=${name%.yaml}
    case " $* " in *" $name "*) ;; *) printf ' %s' "$name" ;; esac
  done
}

layer() { case ":$COMPOSE_FILE:" in *"/$1.yaml:"*) ;; *) return 1 ;; esac }

# The folder keeps other users out; the file itself must be readable, since containers run as different users.
make_secret() {
  secret=$root/compose/secrets/redis_password
  [ ! -e "$secret" ] || return 0
  mkdir -p "${secret%/*}" && chmod 700 "${secret%/*}"
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$secret" && chmod 444 "$secret"
  say "created a Redis password in compose/secrets/redis_password"
}

# The layers prod and login check tokens, unless AUTH=off says that everyone may do everything. Compose wants the file of
# a secret also where nobody reads it: where there is none, /dev/null stands for it.
check_keys() {
  if [ -e "$root/compose/secrets/auth_public.pem" ] || [ -n "${AUTH_PUBLIC_KEY:-}" ]; then return 0; fi
  [ "${AUTH:-}" = off ] || [ -n "${AUTH_JWKS_URL:-}" ] ||
    fail 'there is no key to check tokens with: make keys creates it, AUTH_JWKS_URL names where keys are, or AUTH=off does without a login'
  export AUTH_PUBLIC_KEY=/dev/null
}

# Whether the stack without containers is running.
local_runs() { [ -x "$root/.venv/bin/python" ] && local_stack port >/dev/null 2>&1; }

local_stack() { "$root/.venv/bin/python" -m run.local "$@"; }

# Ends the project's containers by its label alone: whatever layers are running, and even if a layer's secret is missing.
compose_down() { COMPOSE_FILE="" compose -p "$project" down --remove-orphans "$@"; }

compose() {
  command=$(compose_command)
  [ -n "$command" ] || fail 'Docker Compose is missing; make doctor shows more'
  # shellcheck disable=SC2086 # two words on purpose
  (cd "$root" && exec $command "$@")
}
