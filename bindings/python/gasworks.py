"""Gasworks from Python, by ctypes: libgasworks must be where the loader finds it (LD_LIBRARY_PATH).

    import gasworks
    engine = gasworks.Engine()
    module = gasworks.Module(engine, open("add.wasm", "rb").read())
    instance = gasworks.Instance(module, {("env", "log"): print}, gas_limit=1_000_000)
    instance.call("add", 20, 22)     # 42
    instance.gas_used                # what it cost
    instance.memory()[16:20]         # a memoryview of its memory

Numbers come and go as int and float. What goes wrong raises gasworks.Error, with `trap` when the guest trapped. An engine and a module
may be used by many threads; an instance by one at a time.
"""
import ctypes as c
import threading

_lib = c.CDLL("libgasworks.so.0")
_TRAP_HOST, _EXTERN_HOST_FUNC = 18, 4


class _Error(c.Structure):
    _fields_ = [("code", c.c_int), ("trap", c.c_int), ("offset", c.c_uint64), ("func", c.c_uint32), ("message", c.c_char * 320)]


class _Value(c.Union):
    _fields_ = [("i32", c.c_int32), ("i64", c.c_int64), ("f32", c.c_float), ("f64", c.c_double), ("v128", c.c_char * 16)]


class _Typed(c.Structure):  # aligned to 16, as the union is
    _fields_ = [("type", c.c_int), ("_pad", c.c_char * 12), ("of", _Value)]


class _ExternType(c.Structure):
    _fields_ = [("kind", c.c_int), ("func", c.c_void_p), ("n_params", c.c_uint32), ("n_results", c.c_uint32), ("rest", c.c_char * 64)]


class _NamedType(c.Structure):
    _fields_ = [("module", c.c_void_p), ("name", c.c_void_p), ("module_size", c.c_size_t), ("name_size", c.c_size_t),
                ("type", _ExternType)]


class _EngineOptions(c.Structure):
    _fields_ = [("opt_level", c.c_uint32), ("gas", c.c_bool), ("rest", c.c_char * 507)]


class _StoreOptions(c.Structure):
    _fields_ = [("gas_limit", c.c_uint64), ("rest", c.c_char * 504)]


_HostFn = c.CFUNCTYPE(c.c_int, c.c_void_p, c.c_void_p, c.POINTER(_Value))


class _HostFunc(c.Structure):
    _fields_ = [("module", c.c_char_p), ("name", c.c_char_p), ("signature", c.c_char_p), ("fn", _HostFn)]


class _Extern(c.Structure):
    _fields_ = [("kind", c.c_int), ("func", c.POINTER(_HostFunc)), ("env", c.c_void_p)]


class _Import(c.Structure):
    _fields_ = [("module", c.c_void_p), ("field", c.c_void_p), ("module_size", c.c_uint32), ("field_size", c.c_uint32)]


_ResolveFn = c.CFUNCTYPE(c.c_bool, c.c_void_p, c.POINTER(_Import), c.POINTER(_Extern))
_MEMBERS = ("i32", "i64", "f32", "f64")

for _name, _result, _arguments in (
        ("gw_engine_create", c.c_void_p, "pp"), ("gw_engine_destroy", None, "p"), ("gw_module_create", c.c_void_p, "psnp"),
        ("gw_module_release", None, "p"), ("gw_store_create", c.c_void_p, "ppp"), ("gw_store_destroy", None, "p"),
        ("gw_store_gas_used", c.c_uint64, "p"), ("gw_instance_create", c.c_void_p, "ppppp"),
        ("gw_instance_memory", c.c_void_p, "pQQ"), ("gw_instance_memory_size", c.c_uint64, "p"), ("gw_store_interrupt", None, "p"),
        ("gw_call_typed", c.c_bool, "pspnpnp"), ("gw_module_export", c.c_bool, "pIp"), ("gw_module_import", c.c_bool, "pIp"),
        ("gw_func_param", c.c_int, "pI"), ("gw_func_result", c.c_int, "pI")):
    _f = getattr(_lib, _name)
    _f.restype = _result
    _f.argtypes = [{"p": c.c_void_p, "s": c.c_char_p, "n": c.c_size_t, "Q": c.c_uint64, "I": c.c_uint32}[a] for a in _arguments]


class Error(Exception):
    """What went wrong; `trap` is the number of a trap in gasworks/trap.def, or 0."""

    def __init__(self, err):
        super().__init__(err.message.decode("utf-8", "replace"))
        self.code, self.trap = err.code, err.trap


def _member(type):
    if type >= len(_MEMBERS):
        raise TypeError("vectors and references do not cross between Python and Wasm")
    return _MEMBERS[type]


def _set(value, type, x):
    if type < 2 and not -(1 << (32 << type) - 1) <= x < 1 << (32 << type):
        raise OverflowError(f"{x} is no {_MEMBERS[type]}")
    setattr(value, _member(type), x)


def _check(result, err):
    if not result:
        raise Error(err)
    return result


class _Owner:
    """Something of the library's, which goes behind all that was made of it, in whatever order Python collects them."""
    _lock = threading.Lock()

    def __init__(self, p, destroy, parent=None):
        self.p, self._destroy, self._parent, self._users = p, destroy, parent, 1
        if parent:
            with self._lock:
                parent._users += 1

    def drop(self):
        with self._lock:
            self._users -= 1
            is_last = self._users == 0
        if is_last:
            self._destroy(self.p)
            if self._parent:
                self._parent.drop()


class _Owning:
    _owner = None

    def __del__(self):
        if self._owner:
            self._owner.drop()


class Engine(_Owning):
    def __init__(self, opt_level=2, gas=True):
        err = _Error()
        self._p = _check(_lib.gw_engine_create(c.byref(_EngineOptions(opt_level, gas)), c.byref(err)), err)
        self._owner = _Owner(self._p, _lib.gw_engine_destroy)


class Module(_Owning):
    def __init__(self, engine, wasm):
        err = _Error()
        self._engine = engine
        self._p = _check(_lib.gw_module_create(engine._p, wasm, len(wasm), c.byref(err)), err)
        self._owner = _Owner(self._p, _lib.gw_module_release, engine._owner)
        self.exports = dict(self._signatures(_lib.gw_module_export))

    def _signatures(self, ask):
        """Names and types of functions: (module, name) of imports, name of exports."""
        t, i = _NamedType(), 0
        while ask(self._p, i, c.byref(t)):
            name = c.string_at(t.name, t.name_size).decode()
            key = (c.string_at(t.module, t.module_size).decode(), name) if t.module else name
            if t.type.kind == 0:
                yield key, ([_lib.gw_func_param(t.type.func, k) for k in range(t.type.n_params)],
                            [_lib.gw_func_result(t.type.func, k) for k in range(t.type.n_results)])
            i += 1


class Instance(_Owning):
    def __init__(self, module, imports={}, gas_limit=0):
        err = _Error()
        self._module, self._raised = module, None
        self._hosts = {key: self._host(imports[key], *types) for key, types in module._signatures(_lib.gw_module_import)
                       if key in imports}
        self._store = _check(_lib.gw_store_create(module._engine._p, c.byref(_StoreOptions(gas_limit)), c.byref(err)), err)
        self._owner = _Owner(self._store, _lib.gw_store_destroy, module._owner)
        self._p = self._run(_lib.gw_instance_create(self._store, module._p, _ResolveFn(self._resolve), None, c.byref(err)), err)

    def _host(self, function, params, results):
        def fn(caller, env, values):
            try:
                got = function(*(getattr(values[i], _member(t)) for i, t in enumerate(params)))
                got = got if len(results) > 1 else [got] * len(results)
                if len(got) != len(results):
                    raise TypeError(f"a host function gave {len(got)} results, {len(results)} are wanted")
                for i, (t, x) in enumerate(zip(results, got)):
                    _set(values[i], t, x)
                return 0
            except BaseException as raised:  # goes on where the guest was called
                self._raised = raised
                return _TRAP_HOST
        return _HostFunc(None, None, None, _HostFn(fn))

    def _resolve(self, env, asked, out):
        a = asked.contents
        host = self._hosts.get((c.string_at(a.module, a.module_size).decode(), c.string_at(a.field, a.field_size).decode()))
        if host:
            out.contents.kind, out.contents.func = _EXTERN_HOST_FUNC, c.pointer(host)
        return host is not None

    def _run(self, result, err):
        raised, self._raised = self._raised, None
        if raised and not result:
            raise raised
        return _check(result, err)

    def call(self, name, *args):
        """Calls an export: None, a number, or a tuple of them."""
        if "\0" in name:
            raise ValueError("a name with NUL cannot be called")
        params, results = self._module.exports.get(name, ([], []))
        given, got, err = (_Typed * (len(args) + 1))(), (_Typed * (len(results) + 1))(), _Error()
        for i, x in enumerate(args):
            given[i].type = params[i] if i < len(params) else 0
            _set(given[i].of, given[i].type, x)
        self._run(_lib.gw_call_typed(self._p, name.encode(), given, len(args), got, len(results), c.byref(err)), err)
        values = tuple(getattr(got[i].of, _member(t)) for i, t in enumerate(results))
        return values if len(values) > 1 else values[0] if values else None

    def memory(self):
        """Memory 0 as large as it is now, or nothing where there is none. The view keeps the instance."""
        size = _lib.gw_instance_memory_size(self._p)
        if not size:
            return memoryview(b"")
        bytes = (c.c_char * size).from_address(_lib.gw_instance_memory(self._p, 0, size))
        bytes._instance = self
        return memoryview(bytes).cast("B")

    def interrupt(self):
        """From another thread: ends the call under way."""
        _lib.gw_store_interrupt(self._store)

    @property
    def gas_used(self):
        return _lib.gw_store_gas_used(self._store)
