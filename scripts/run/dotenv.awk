# Reads an .env file as Docker Compose does, and prints `export NAME='value'` for a shell to evaluate: for names that are
# valid in a shell and not set in the environment, which has precedence. Run with LC_ALL=C, so that a character is a byte.
# Compose's reader is the reference; tests/stack/test_dotenv_like_compose.py compares the two.

function fail(says) {
  printf "fanout: .env: %s\n", says >"/dev/stderr"
  exit 2
}

function space(char) { return char != "" && index(" \t\v\f\r\n", char) > 0 }

function skip_blanks() { # within a line
  while (at <= length(text) && space(substr(text, at, 1)) && substr(text, at, 1) != "\n") at++
}

function trim_end(value) {
  sub(/[ \t\v\f\r\n]+$/, "", value)
  return value
}

function next_line() {
  while (at <= length(text) && substr(text, at, 1) != "\n") at++
  at++
}

# Replaces escapes such as \n in double quotes. An escaped dollar becomes two, which expand() turns into one.
function unescape(value,    out, char, digits) {
  out = ""
  while (match(value, /\\([abcfnrtv$"\\]|0[0-9]?[0-9]?[0-9]?)/)) {
    out = out substr(value, 1, RSTART - 1)
    char = substr(value, RSTART + 1, 1)
    digits = substr(value, RSTART + 2, RLENGTH - 2)
    if (char == "$") char = "$$"
    else if (char == "0") char = octal(digits)
    else if (char == "c") char = "\\c"
    else if (char in escapes) char = escapes[char]
    out = out char
    value = substr(value, RSTART + RLENGTH)
  }
  return out value
}

function octal(digits) {
  if (digits !~ /^[0-3][0-7][0-7]$/) return "\\" digits
  return sprintf("%c", substr(digits, 1, 1) * 64 + substr(digits, 2, 1) * 8 + substr(digits, 3, 1))
}

function is_set(name) { return name in ENVIRON || name in found }

function value_of(name) { return name in ENVIRON ? ENVIRON[name] : name in found ? found[name] : "" }

# Replaces $NAME, ${NAME} and ${NAME:-default} by their values.
function expand(value,    out, name, end) {
  out = ""
  while ((end = index(value, "$")) > 0) {
    out = out substr(value, 1, end - 1)
    value = substr(value, end)
    if (substr(value, 2, 1) == "$") {
      out = out "$"
      value = substr(value, 3)
    } else if (match(value, /^\$[A-Za-z_][A-Za-z0-9_]*/)) {
      name = substr(value, 2, RLENGTH - 1)
      value = substr(value, RLENGTH + 1)
      out = out value_of(name)
    } else if (match(value, /^\$\{[A-Za-z_][A-Za-z0-9_]*/)) {
      name = substr(value, 3, RLENGTH - 2)
      end = closing(value)
      out = out choose(name, substr(value, RLENGTH + 1, end - RLENGTH - 1))
      value = substr(value, end + 1)
    } else if (substr(value, 2, 1) == "{") {
      fail("invalid interpolation in " value)
    } else {
      out = out "$"
      value = substr(value, 2)
    }
  }
  return out value
}

# Returns where the brace at the beginning is closed.
function closing(value,    depth, i) {
  depth = 0
  for (i = 2; i <= length(value); i++) {
    if (substr(value, i - 1, 2) == "${") depth++
    if (substr(value, i, 1) == "}" && --depth == 0) return i
  }
  fail("a brace is not closed in " value)
}

function choose(name, rest,    there, sign) {
  if (rest == "") return value_of(name)
  there = is_set(name)
  if (substr(rest, 1, 1) == ":") {
    there = value_of(name) != ""
    rest = substr(rest, 2)
  }
  sign = substr(rest, 1, 1)
  rest = substr(rest, 2)
  if (sign == "-") return there ? value_of(name) : expand(rest)
  if (sign == "+") return there ? expand(rest) : ""
  if (sign == "?") {
    if (!there) fail(name " is missing: " expand(rest))
    return value_of(name)
  }
  fail("invalid interpolation of " name)
}

function quoted(quote,    value, char, escaped) {
  value = ""
  escaped = 0
  for (at++; at <= length(text); at++) {
    char = substr(text, at, 1)
    if (char == quote && !escaped) {
      at++
      return quote == "\"" ? expand(unescape(value)) : value
    }
    if (char == "\\" && !escaped) {
      escaped = 1
      continue
    }
    if (escaped && char != quote) value = value "\\"
    escaped = 0
    value = value char
  }
  fail("a quoted value does not end")
}

function unquoted(    start, value) {
  start = at
  next_line()
  value = substr(text, start, at - start - 1)
  if (index(value, " #")) value = substr(value, 1, index(value, " #") - 1)
  return expand(trim_end(value))
}

function statement(    start, char, name, value) {
  if (match(substr(text, at), /^export[ \t\v\f\r\n]+/)) at += RLENGTH
  for (start = at; at <= length(text); at++) {
    char = substr(text, at, 1)
    if (char == "=" || char == ":" || char == "\n") break
    if (!space(char) && char !~ /[A-Za-z0-9_.\[\]\200-\377-]/) fail("unexpected character " char " in a variable's name")
  }
  if (at > length(text)) char = "\n"
  name = trim_end(substr(text, start, at - start))
  at++
  if (name ~ / /) fail("a variable's name contains a space: " name)
  if (char == "\n") return # a name alone stands for the variable of the environment
  skip_blanks()
  char = substr(text, at, 1)
  value = char == "\"" || char == "'" ? quoted(char) : unquoted()
  found[name] = value
}

BEGIN {
  escapes["a"] = "\a"; escapes["b"] = "\b"; escapes["f"] = "\f"; escapes["n"] = "\n"; escapes["r"] = "\r"
  escapes["t"] = "\t"; escapes["v"] = "\v"; escapes["\""] = "\""; escapes["\\"] = "\\"
}

{ text = text $0 "\n" }

END {
  sub(/^\357\273\277/, "", text)
  at = 1
  while (at <= length(text)) {
    if (space(substr(text, at, 1))) at++
    else if (substr(text, at, 1) == "#") next_line()
    else statement()
  }
  for (name in found) {
    if (name in ENVIRON || name !~ /^[A-Za-z_][A-Za-z0-9_]*$/) continue
    gsub(/'/, "'\\''", found[name])
    printf "export %s='%s'\n", name, found[name]
  }
}
