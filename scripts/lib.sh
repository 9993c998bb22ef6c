# shellcheck shell=sh
# What the shell scripts share: the settings of .env, and what this machine has. Sourced with $root set.

# The environment wins over .env, as it does for Compose.
while IFS='=' read -r name value; do
  case $name in
    '' | \#*) ;;
    *) eval "export $name=\"\${$name-\$value}\"" ;;
  esac
done <"$root/.env"

say() { printf 'fanout: %s\n' "$*" >&2; }
fail() {
  say "$*"
  exit 1
}

have_engine() { command -v docker >/dev/null && docker version >/dev/null 2>&1; }

# Prints how to call Compose, or nothing. A plugin older than 2.24 lacks what the layers use.
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

# The first Python that is new enough, or nothing.
find_python() {
  for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3.14; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

have_image() { docker image inspect "$1" >/dev/null 2>&1; }
is_stand_in() { [ -n "$(docker image inspect -f '{{index .Config.Labels "org.fanout.stand-in"}}' "$1" 2>/dev/null)" ]; }

# Runs a command for at most that many seconds, also where coreutils' timeout is missing (macOS).
within() {
  seconds=$1
  shift
  "$@" &
  pid=$!
  (sleep "$seconds" && kill "$pid") >/dev/null 2>&1 &
  watch=$!
  if wait "$pid"; then status=0; else status=$?; fi
  kill "$watch" 2>/dev/null || true
  return "$status"
}

# The images that the chosen layers start from, by the names that docker/base/build has for them.
base_images() { echo python redis; if layer metrics; then echo prometheus; fi; }

image_called() {
  case $1 in
    python) echo "$PYTHON_IMAGE" ;;
    redis) echo "$REDIS_IMAGE" ;;
    prometheus) echo "$PROMETHEUS_IMAGE" ;;
  esac
}

# Whether each base image is on this machine or comes within 10 s a pull.
images_in_reach() {
  for name in $(base_images); do
    image=$(image_called "$name")
    have_image "$image" && continue
    say "looking for the image $image (10 s at most) ..."
    within 10 docker pull -q "$image" >/dev/null 2>&1 || return 1
  done
}

# Compose 5 builds with buildx 0.17 or later.
have_buildx() {
  version=$(docker buildx version 2>/dev/null | sed -n 's/^[^ ]* v\{0,1\}\([0-9]*\.[0-9]*\).*/\1/p')
  [ -n "$version" ] && { [ "${version%%.*}" -gt 0 ] || [ "${version#*.}" -ge 17 ]; }
}

# LAYERS="prod gateway" stands for those files of compose/ on top of base.yaml; without it COMPOSE_FILE decides.
choose_layers() {
  [ -n "${LAYERS:-}" ] || return 0
  COMPOSE_FILE=compose/base.yaml
  for layer in $LAYERS; do
    [ -f "$root/compose/$layer.yaml" ] ||
      fail "LAYERS names '$layer', but the layers are:$(cd "$root/compose" && ls ./*.yaml | sed 's|^\./| |; s|\.yaml$||' | tr -d '\n')"
    [ "$layer" = base ] || COMPOSE_FILE=$COMPOSE_FILE:compose/$layer.yaml
  done
  export COMPOSE_FILE
}

layer() { case ":$COMPOSE_FILE:" in *"/$1.yaml:"*) ;; *) return 1 ;; esac }

# The folder keeps others out; the file itself must be readable, since containers run as users of their own.
make_secret() {
  secret=$root/compose/secrets/redis_password
  [ ! -e "$secret" ] || return 0
  mkdir -p "${secret%/*}" && chmod 700 "${secret%/*}"
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$secret" && chmod 444 "$secret"
  say "made a Redis password in compose/secrets/redis_password"
}

# Whether the stack without containers runs.
local_runs() { [ -x "$root/.venv/bin/python" ] && "$root/.venv/bin/python" "$root/scripts/local.py" port >/dev/null 2>&1; }

local_stack() { "$root/.venv/bin/python" "$root/scripts/local.py" "$@"; }

compose() {
  command=$(compose_command)
  [ -n "$command" ] || fail 'Docker Compose is missing; make doctor tells more'
  # shellcheck disable=SC2086 # two words on purpose
  (cd "$root" && exec $command "$@")
}
