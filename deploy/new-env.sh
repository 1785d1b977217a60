#!/bin/sh
# Makes .env for docker-compose.yml: .env.example with a new password for every user.
#
# Only you can read the file. One that is there is left alone.
set -eu
cd "$(dirname "$0")/.."
umask 077
set -C # an existing .env is not written to

{
  while IFS= read -r line; do
    case $line in
      [A-Z]*=) echo "$line$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" ;;
      *) echo "$line" ;;
    esac
  done <.env.example
} >.env
