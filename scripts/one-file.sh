#!/bin/sh
# vproc @VERSION@ in one file: this script, and behind it a packed folder that holds vproc, a Python of its own and a static ffmpeg.
# The first start unpacks it into a folder that is named by its digest; every start becomes the program in there.
set -eu

name=vproc-@VERSION@-@DIGEST@
path=${PATH-}
mask=$(umask)
PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
umask 022
uid=$(id -u)
reasons=""

# 78, as for a wrong setting: to start again does not help.
fail() {
  printf 'vproc: %s\n' "$*" >&2
  exit 78
}

# Nobody but this user and root may write there: what lies in it will be run.
is_ours() {
  [ -d "$1" ] || return 1
  # shellcheck disable=SC2012 # two fields of one folder, whose name is not read
  ls -ldn "$1/." | {
    read -r rights _ owner _
    case $rights in ?????w* | ????????w*) exit 1 ;; esac
    [ "$owner" = "$uid" ] || [ "$owner" = 0 ]
  }
}

is_unpacked() { is_ours "$1" && is_ours "$1/$name" && [ -x "$1/$name/bin/python3" ]; }

# Whether it may be unpacked there; else the reason.
can_take() {
  reason=""
  mkdir -p "$1" 2>/dev/null || reason="cannot be made"
  [ -n "$reason" ] || is_ours "$1" || reason="belongs to somebody else, or others may write there"
  if [ -z "$reason" ]; then
    probe=$1/.probe-$$
    if ! { printf '#!/bin/sh\n' >"$probe" && chmod 700 "$probe"; } 2>/dev/null; then
      reason="cannot be written to"
    elif ! "$probe" 2>/dev/null; then
      reason="is mounted noexec: no program can run there"
    fi
    rm -f "$probe" 2>/dev/null || :
  fi
  [ -n "$reason" ] || return 0
  reasons="$reasons
  $1 $reason"
  return 1
}

# into PLACE: complete under its name, or not at all. Of several starts at once one wins, and all use what it made.
unpack() {
  part=$1/.$name.$$
  trap 'rm -rf "$part"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  [ ! -t 2 ] || printf 'vproc: unpacking into %s, once\n' "$1/$name" >&2
  mkdir "$part" || fail "$1 cannot be written to"
  tail -n +@LINES@ "$0" | tar -xzof - -C "$part" || fail "could not be unpacked into $1: it takes @MEGABYTES@ MB, the programs tar and gzip, and the whole of $0"
  "$part/bin/python3" -I -S -c "" || fail "this machine cannot run it: it was built for @MACHINE@ with glibc @GLIBC@ or newer"
  mv -T "$part" "$1/$name" 2>/dev/null || is_unpacked "$1" || fail "$1/$name stands in the way"
  trap - EXIT HUP INT TERM
  rm -rf "$part"
}

# Takes the folders in their order: the first that has it, else the first that can take it.
find_place() {
  for place; do
    if [ -n "$place" ] && is_unpacked "$place"; then
      return
    fi
  done
  for place; do
    if [ -n "$place" ] && can_take "$place"; then
      unpack "$place"
      return
    fi
  done
  fail "there is no folder to unpack into; VPROC_UNPACK_DIR names one$reasons"
}

if [ -n "${VPROC_UNPACK_DIR-}" ]; then
  find_place "$VPROC_UNPACK_DIR"
else
  home=""
  [ ! -d "${HOME-}" ] || home=$HOME/.cache/vproc
  cache=${CACHE_DIRECTORY-} # systemd's
  find_place "${cache%%:*}" "${XDG_CACHE_HOME:+$XDG_CACHE_HOME/vproc}" "$home" "/var/tmp/vproc-$uid" "/tmp/vproc-$uid"
fi
unpacked=$place/$name

# Its OpenSSL looks where the machine that built it keeps certificates. Those that this machine trusts, else the ones it brings.
if [ -z "${SSL_CERT_FILE-}${SSL_CERT_DIR-}" ]; then
  for SSL_CERT_FILE in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem "$unpacked/cacert.pem"; do
    [ ! -r "$SSL_CERT_FILE" ] || break
  done
  export SSL_CERT_FILE
fi

PATH=$path
umask "$mask"
exec "$unpacked/bin/python3" -I -B -m vproc "$@"
