#!/bin/bash
# Installs into a temporary directory and builds programs against that: with pkg-config and with CMake, in C and as C++, shared and
# static. The exported names are those of the list.
#   install.sh SOURCE_DIR BUILD_DIR [COMPILER_FLAGS]
set -u
source=${1:?usage: install.sh SOURCE_DIR BUILD_DIR [COMPILER_FLAGS]} build=${2:?} flags=${3-}
dir=$(mktemp -d) passed=0 failed=0
trap 'rm -rf "$dir"' EXIT

check() {
  local name=$1
  shift
  if "$@" >"$dir/log" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAIL $name"; tail -20 "$dir/log"; fi
}

prefix=$dir/prefix
check "install" cmake --install "$build" --prefix "$prefix"
lib=$(dirname "$(find "$prefix" -name libgasworks.so)")
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib GASWORKS_CACHE=off

names() { nm "$@" | awk 'NF == 3 && $2 ~ /[TDBR]/ {print $3}' | sed 's/@.*//' | LC_ALL=C sort -u; }
list=$source/runtime/package/gasworks.symbols
check "symbols of the shared library" diff <(names -D --defined-only "$lib/libgasworks.so") <(LC_ALL=C sort "$list")
check "symbols of the static library" diff <(names -g --defined-only "$lib/libgasworks.a" | grep -v '^__') <(LC_ALL=C sort "$list")
check "prefixes" bash -c "! grep -vE '^(gw|wasm)_' '$list'"

# build NAME SOURCE COMPILER...: a program that prints what is expected, built with pkg-config
build() {
  local name=$1 file=$2
  shift 2
  # shellcheck disable=SC2046,SC2086
  check "$name builds" "$@" $flags -o "$dir/$name" "$file" $(pkg-config --cflags --libs gasworks)
}
says() { [[ $("$dir/$1") == "$2" ]]; }

build hello "$source/examples/embed/hello.c" clang-22 -Wall -Wextra -Werror
check "hello runs" says hello '20 + 22 = 42'
cp "$source/examples/embed/hello.c" "$dir/hello.cpp"
build hello_cpp "$dir/hello.cpp" clang++-22 -Wall -Wextra -Werror
check "hello runs as C++" says hello_cpp '20 + 22 = 42'
build state "$source/examples/embed/state.c" clang-22 -Wall -Wextra -Werror
check "state is kept" bash -c "'$dir/state' '$dir/counter' && '$dir/state' '$dir/counter' | grep -qx 'run 2'"
cp "$source/examples/embed/state.c" "$dir/state.cpp"
build state_cpp "$dir/state.cpp" clang++-22 -Wall -Wextra -Werror
# shellcheck disable=SC2046,SC2086
check "a static state builds" clang-22 $flags -o "$dir/state_static" "$source/examples/embed/state.c" -I"$prefix/include" \
  "$lib/libgasworks.a" $(pkg-config --libs libsodium libdw lmdb) -lelf -liberty -lpthread -ldl -lm
check "a static state goes on" bash -c "'$dir/state_static' '$dir/counter' | grep -qx 'run 3'"
# shellcheck disable=SC2046,SC2086
check "a static hello builds" clang-22 $flags -o "$dir/hello_static" "$source/examples/embed/hello.c" -I"$prefix/include" \
  "$lib/libgasworks.a" $(pkg-config --libs libsodium libdw lmdb) -lelf -liberty -lpthread -ldl -lm
check "a static hello runs" env GASWORKS_COMPILER="$lib/gasworks/gasworks-compiler.so" "$dir/hello_static"
build lazy "$source/tests/embed/lazy.c" clang-22 -Wall -Wextra -Werror
check "LLVM is loaded by the first compilation" "$dir/lazy"

# Go's programs have no sanitizer, so that a library with one cannot be in them.
if command -v go >/dev/null && [[ -z $flags ]]; then
  check "the Go program builds" env GO111MODULE=off GOCACHE="$dir/go" CC=clang-22 CGO_CFLAGS="$(pkg-config --cflags gasworks)" \
    CGO_LDFLAGS="$(pkg-config --libs gasworks)" go build -o "$dir/hello_go" "$source/examples/embed/hello.go"
  check "it runs" bash -c "'$dir/hello_go' | grep -qx '20 + 22 = 42, gas 1'"
else
  echo "skipped: the Go program, which wants Go and a library without sanitizers"
fi

mkdir "$dir/cmake"
cat >"$dir/cmake/CMakeLists.txt" <<END
cmake_minimum_required(VERSION 3.25)
project(hello LANGUAGES C CXX)
set(CMAKE_C_FLAGS "$flags")
set(CMAKE_CXX_FLAGS "$flags")
find_package(Gasworks 0.1 REQUIRED)
add_executable(hello "$source/examples/embed/hello.c")
add_executable(hello_cpp "$dir/hello.cpp")
target_link_libraries(hello PRIVATE Gasworks::gasworks)
target_link_libraries(hello_cpp PRIVATE Gasworks::gasworks)
END
check "find_package" cmake -G Ninja -S "$dir/cmake" -B "$dir/cmake/build" -D CMAKE_PREFIX_PATH="$prefix" \
  -D CMAKE_C_COMPILER=clang-22 -D CMAKE_CXX_COMPILER=clang++-22
check "the CMake project builds" cmake --build "$dir/cmake/build"
check "its hello runs" says cmake/build/hello '20 + 22 = 42'
check "its hello runs as C++" says cmake/build/hello_cpp '20 + 22 = 42'

check "the program finds its templates" bash -c "cd '$dir' && '$prefix/bin/gasworks' init mine --lang rust && [[ -x mine/build ]]"
check "and its compiler" bash -c "printf '\\0asm\\1\\0\\0\\0' >'$dir/empty.wasm' && '$prefix/bin/gasworks' compile '$dir/empty.wasm'"
check "it has its pages" bash -c "[[ -s '$prefix/share/man/man1/gasworks.1' ]]"

# Without the compiler's component it still interprets, and says why it does not compile.
rm -rf "$lib/gasworks"
check "it interprets without a compiler" "$dir/lazy" without

echo "$passed passed, $failed failed, 0 skipped"
((failed == 0 && passed > 15))
