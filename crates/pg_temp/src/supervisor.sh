# Makes a database folder, keeps a PostgreSQL server running in it, and removes both.
#
# Standard input is a pipe from the process the server is for. Its end is the end of everything here, however that
# process ends: it needs no chance to say goodbye. Until then lines tell what to do:
#   start         starts the server that was stopped
#   stop          stops it in order
#   crash         stops it as a power cut would: nothing that was not durable is there afterwards
# Standard output carries the server's log, and lines that begin with "pg_temp: ".

bin=$1
folder=$2
durable=$3
shift 3

make() {
    "$bin/initdb" --pgdata="$folder/data" --auth=trust --username=postgres --encoding=UTF8 --locale=C --no-sync \
        </dev/null 2>&1 || return 1
    [ "$durable" = yes ] || echo 'fsync = off' >>"$folder/data/postgresql.conf"
}

# The log passes through a pipe, whose end tells that the server and all its processes are gone.
start() {
    "$bin/postgres" -D "$folder/data" -k "$folder" "$@" </dev/null >"$folder/log" 2>&1 &
    server=$!
    { cat "$folder/log"; echo 'pg_temp: down'; } &
}

end() {
    kill "-$1" "$server" 2>/dev/null
    wait
}

if make && mkfifo "$folder/log"; then
    start "$@"
    while read -r word; do
        case $word in
        start) start "$@" ;;
        stop) end INT ;;
        crash) end QUIT ;;
        esac
    done
    end QUIT
fi
rm -rf "$folder"
