/* The one C++ file: LLVM's C interface makes a session only together with an LLJIT, whose platform, host detection and process
 * symbols we do not need, and shows no link graph, which is where places are known.
 *
 * The process has one session, made at the first load and kept. A module is a dylib of its own, each of its objects a
 * materialization unit under one resource tracker, which takes the memory back. JITLink maps an object's code for reading and
 * running, its constants for reading, after both were written; calls between objects that lie too far apart get stubs. The lock
 * is the session's: tasks run on the thread that loads, so a graph always belongs to the load that holds it.
 *
 * Who debugs: an object with debug information is shown to gdb, through the interface that gdb has for JIT compilers, by LLVM's
 * own plugin. For perf there is a jitdump, with a copy of the code and its lines. LLVM's writer of records is used, but not its
 * plugin: that writes the lines of many functions before their code, of which perf keeps the last one's, and moves them by the
 * size of an ELF header, as perf has done itself since Linux 5.8. */
#include "jit/orc.h"

#include <llvm/ExecutionEngine/JITLink/JITLinkMemoryManager.h>
#include <llvm/ExecutionEngine/Orc/Core.h>
#include <llvm/ExecutionEngine/Orc/Debugging/DebugInfoSupport.h>
#include <llvm/ExecutionEngine/Orc/Debugging/ELFDebugObjectPlugin.h>
#include <llvm/ExecutionEngine/Orc/ObjectFileInterface.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/ExecutionEngine/Orc/SelfExecutorProcessControl.h>
#include <llvm/ExecutionEngine/Orc/Shared/PerfSharedStructs.h>
#include <llvm/ExecutionEngine/Orc/TargetProcess/JITLoaderPerf.h>
#include <llvm/ExecutionEngine/Orc/TaskDispatch.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/Process.h>
#include <llvm/Support/Threading.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>

using namespace llvm;
using namespace llvm::orc;

struct orc_module {
  JITDylib *dylib;
};

namespace {

/* The records of perf's tools/perf/Documentation/jitdump-specification.txt. */
class Jitdump {
public:
  explicit Jitdump(ExecutorProcessControl &control) : control(control) {}

  /* The file, once. */
  Error open() {
    Error result = Error::success();
    if (is_open) return result;
    if (Error error =
            control.callSPSWrapper<shared::SPSError()>(ExecutorAddr::fromPtr(&llvm_orc_registerJITLoaderPerfStart), result))
      return joinErrors(std::move(error), std::move(result));
    is_open = !result;
    return result;
  }

  /* The records are written when the code is where it will run. */
  Error add(jitlink::LinkGraph &graph, const orc_listener &listener) {
    auto context = createDWARFContext(graph);
    if (!context) return context.takeError();
    for (jitlink::Symbol *symbol : graph.defined_symbols()) {
      if (!symbol->hasName() || !symbol->isCallable()) continue;
      auto call = shared::WrapperFunctionCall::Create<shared::SPSArgList<shared::SPSPerfJITRecordBatch>>(
          ExecutorAddr::fromPtr(&llvm_orc_registerJITLoaderPerfImpl), describe(*symbol, *context->first, listener));
      if (!call) return call.takeError();
      graph.allocActions().push_back({std::move(*call), {}});
    }
    return Error::success();
  }

private:
  enum { RECORD = 16, DEBUG_INFO = RECORD + 16, ENTRY = 16, CODE = RECORD + 40 }; /* bytes without names */

  ExecutorProcessControl &control;
  bool is_open = false;
  uint64_t n_functions = 0;

  /* One function's lines, if there are any, and its code. */
  PerfJITRecordBatch describe(const jitlink::Symbol &symbol, DWARFContext &context, const orc_listener &listener) {
    PerfJITRecordBatch batch = {};
    PerfJITDebugInfoRecord lines = describe_lines(symbol, context);
    if (!lines.Entries.empty()) batch.DebugInfoRecords.push_back(std::move(lines));
    batch.CodeLoadRecords.push_back(describe_code(symbol, listener));
    return batch;
  }

  PerfJITDebugInfoRecord describe_lines(const jitlink::Symbol &symbol, DWARFContext &context) {
    PerfJITDebugInfoRecord record = {{PerfJITRecordType::JIT_CODE_DEBUG_INFO, DEBUG_INFO}, symbol.getAddress().getValue(), {}};
    DILineInfoSpecifier with_path(DILineInfoSpecifier::FileLineInfoKind::AbsoluteFilePath);
    for (const auto &[at, line] : context.getLineInfoForAddressRange({record.CodeAddr}, symbol.getSize(), with_path)) {
      if (!line.Line) continue;
      record.Entries.push_back({at, line.Line, line.Column, line.FileName});
      record.Prefix.TotalSize += ENTRY + line.FileName.size() + 1;
    }
    return record;
  }

  PerfJITCodeLoadRecord describe_code(const jitlink::Symbol &symbol, const orc_listener &listener) {
    char title[512];
    uint64_t at = symbol.getAddress().getValue();
    listener.title(listener.env, (*symbol.getName()).str().c_str(), title, sizeof title);
    PerfJITRecordPrefix prefix = {PerfJITRecordType::JIT_CODE_LOAD, uint32_t(CODE + strlen(title) + 1 + symbol.getSize())};
    return {prefix, uint32_t(sys::Process::getProcessId()), uint32_t(get_threadid()), at, at, symbol.getSize(), n_functions++,
            title};
  }
};

/* Tells the load that is under way where a linked graph lies. */
class Reporter : public ObjectLinkingLayer::Plugin {
public:
  const orc_listener *listener = nullptr;

  explicit Reporter(ExecutorProcessControl &control) : dump(control) {}

  Error open_dump() { return dump.open(); }

  void modifyPassConfig(MaterializationResponsibility &, jitlink::LinkGraph &, jitlink::PassConfiguration &passes) override {
    passes.PostFixupPasses.push_back([this](jitlink::LinkGraph &g) {
      report(g);
      return Error::success();
    });
    if (!listener->title) return;
    passes.PrePrunePasses.push_back(preserveDebugSections); /* nothing refers to them, but the lines are there */
    passes.PostFixupPasses.push_back([this](jitlink::LinkGraph &g) { return dump.add(g, *listener); });
  }
  Error notifyFailed(MaterializationResponsibility &) override { return Error::success(); }
  Error notifyRemovingResources(JITDylib &, ResourceKey) override { return Error::success(); }
  void notifyTransferringResources(JITDylib &, ResourceKey, ResourceKey) override {}

private:
  Jitdump dump;

  /* JITLink puts the sections of one protection next to each other. */
  void report(jitlink::LinkGraph &graph) {
    uint64_t begin = UINT64_MAX, end = 0;
    for (jitlink::Section &section : graph.sections()) {
      if ((section.getMemProt() & MemProt::Exec) == MemProt::None || section.empty()) continue;
      jitlink::SectionRange range(section);
      begin = std::min(begin, range.getStart().getValue());
      end = std::max(end, range.getEnd().getValue());
    }
    if (begin < end) listener->code(listener->env, reinterpret_cast<void *>(begin), end - begin);
    for (jitlink::Symbol *symbol : graph.defined_symbols())
      if (symbol->hasName() && symbol->isCallable() && symbol->getScope() != jitlink::Scope::Local)
        listener->symbol(listener->env, (*symbol->getName()).str().c_str(), symbol->getAddress().toPtr<void *>());
  }
};

struct Session {
  std::mutex lock;
  ExecutionSession session;
  ObjectLinkingLayer layer;
  std::shared_ptr<Reporter> reporter;
  uint64_t n_loaded = 0;

  explicit Session(std::unique_ptr<ExecutorProcessControl> control) : session(std::move(control)), layer(session) {
    session.setErrorReporter(consumeError); /* what failed a lookup comes with it, too */
    reporter = std::make_shared<Reporter>(session.getExecutorProcessControl());
    layer.addPlugin(reporter);
    show_to_gdb();
  }

private:
  /* Of objects without debug information nothing is told. */
  void show_to_gdb() {
    Error error = Error::success();
    auto plugin = std::make_shared<ELFDebugObjectPlugin>(session, true, true, error);
    if (!error) layer.addPlugin(std::move(plugin));
    consumeError(std::move(error));
  }
};

/* Kept to the process's end: whoever ends it may still hold modules. */
Session &the_session() {
  static Session *const session = new Session(cantFail(
      SelfExecutorProcessControl::Create(std::make_shared<SymbolStringPool>(), std::make_unique<InPlaceTaskDispatcher>())));
  return *session;
}

/* One symbol of an object is enough to have all of it linked. */
Error add_object(Session &s, JITDylib &dylib, MemoryBufferRef object, SymbolLookupSet &wanted) {
  Expected<MaterializationUnit::Interface> interface = getObjectFileInterface(s.session, object);
  if (!interface) return interface.takeError();
  if (interface->SymbolFlags.empty()) return Error::success();
  wanted.add(interface->SymbolFlags.begin()->first);
  return s.layer.add(dylib.getDefaultResourceTracker(), MemoryBuffer::getMemBuffer(object, false), std::move(*interface));
}

Error load(Session &s, JITDylib &dylib, const LLVMMemoryBufferRef *objects, uint32_t n) {
  SymbolLookupSet wanted;
  for (uint32_t i = 0; i < n; i++)
    if (Error error = add_object(s, dylib, unwrap(objects[i])->getMemBufferRef(), wanted)) return error;
  return s.session.lookup(makeJITDylibSearchOrder(&dylib, JITDylibLookupFlags::MatchAllSymbols), std::move(wanted)).takeError();
}

/* Takes the tracker's memory back first. */
void remove(Session &s, JITDylib &dylib) { consumeError(s.session.removeJITDylib(dylib)); }

} // namespace

orc_module *orc_load(const LLVMMemoryBufferRef *objects, uint32_t n, const orc_listener *listener, char **error) {
  Session &s = the_session();
  std::lock_guard<std::mutex> guard(s.lock);
  JITDylib &dylib = s.session.createBareJITDylib("module" + std::to_string(s.n_loaded++));
  s.reporter->listener = listener;
  Error failure = listener->title ? s.reporter->open_dump() : Error::success();
  if (!failure) failure = load(s, dylib, objects, n);
  s.reporter->listener = nullptr;
  if (!failure) return new orc_module{&dylib};
  *error = strdup(toString(std::move(failure)).c_str());
  remove(s, dylib);
  return nullptr;
}

void orc_unload(orc_module *module) {
  Session &s = the_session();
  std::lock_guard<std::mutex> guard(s.lock);
  remove(s, *module->dylib);
  delete module;
}
