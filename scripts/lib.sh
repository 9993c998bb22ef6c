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

# Whether each base image is on this machine or comes within 10 s a pull.
images_in_reach() {
  for image in "$PYTHON_IMAGE" "$REDIS_IMAGE"; do
    have_image "$image" && continue
    say "looking for the image $image (10 s at most) ..."
    within 10 docker pull -q "$image" >/dev/null 2>&1 || return 1
  done
}
