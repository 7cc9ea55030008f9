# The same input costs the same gas: many times, on every loop, after a restart, whatever the optimiser did.
declare -A gas_of

# Calls NAME with a body and compares with the first time.
same_gas() {
  local name=$1 seen
  request POST "/f/$name" -d 'to be or not to be'
  seen=$(gas)
  [[ $status == 200 && -n $seen ]] || return 1
  [[ $seen == "${gas_of[$name]:=$seen}" ]]
}

# Each request is a connection of its own, so they spread over the loops.
same_gas_20_times() {
  local i
  for ((i = 0; i < 20; i++)); do same_gas "$1" || return 1; done
}

names=(wordcount hello markdown sieve)
deploy_names() { for name in "${names[@]}"; do deploy_example "$name"; done; }

start_server "$work/gas"
deploy_names
for name in "${names[@]}"; do check "$name: 20 times the same gas" same_gas_20_times "$name"; done
stop_server
start_server "$work/gas" --workers 1
for name in "${names[@]}"; do check "$name: the same after a restart" same_gas "$name"; done
stop_server
for level in 0 1 3; do
  start_server "$work/gas$level" -O $level
  deploy_names
  for name in "${names[@]}"; do check "$name: the same with -O$level" same_gas "$name"; done
  stop_server
done
start_server "$work/gas" --slice 20000
for name in "${names[@]}"; do check "$name: the same in short slices" same_gas "$name"; done
