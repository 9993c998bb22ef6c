# shellcheck shell=sh disable=SC2154 # sourced by scripts/run/stack, with $root and $project set
# Removes what was created here, and lists it first. Secrets are kept unless SECRETS=1.

labelled() { docker "$@" --filter "label=com.docker.compose.project=$project"; }

images=''
if have_engine; then
  for service in publisher subscriber gateway; do
    image=${IMAGE_PREFIX:-$project-}$service:${IMAGE_TAG:-latest} # as compose/base.yaml calls it
    if have_image "$image"; then images="$images $image"; fi
  done
  for image in "$PYTHON_IMAGE" "$REDIS_IMAGE" "$PROMETHEUS_IMAGE"; do
    if is_stand_in "$image"; then images="$images $image"; fi
  done
  say "make clean removes from the project $project: $(
    { labelled ps -a --format 'container {{.Names}}' && labelled volume ls --format 'volume {{.Name}}'; } | sort | tr '\n' ',' | sed 's/,$//; s/,/, /g'
  )"
  if [ -n "$images" ]; then say "the images:$images"; fi
fi
set -- "$root/.run" "$root/.venv" "$root/.venv-bench"
if [ "${SECRETS:-0}" = 1 ]; then set -- "$@" "$root/compose/secrets"; fi
say "the folders: $*"
if [ -d "$root/compose/secrets" ] && [ "${SECRETS:-0}" != 1 ]; then
  say 'compose/secrets is kept; make clean SECRETS=1 removes it too'
fi

if [ -x "$root/.venv/bin/python" ]; then local_stack down; fi
if have_engine; then
  compose_down --volumes
  for image in $images; do
    docker rmi "$image" >/dev/null || say "the image $image is kept: something else uses it"
  done
fi
rm -rf "$@"
