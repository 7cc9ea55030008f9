/* The one C++ file: LLVM's C interface makes a session only together with an LLJIT, whose platform, host detection and process
 * symbols we do not need, and shows no link graph, which is where places are known.
 *
 * The process has one session, made at the first load and kept. A module is a dylib of its own, each of its objects a
 * materialization unit under one resource tracker, which takes the memory back. JITLink maps an object's code for reading and
 * running, its constants for reading, after both were written; calls between objects that lie too far apart get stubs. The lock
 * is the session's: tasks run on the thread that loads, so a graph always belongs to the load that holds it. */
#include "jit/orc.h"

#include <llvm/ExecutionEngine/JITLink/JITLinkMemoryManager.h>
#include <llvm/ExecutionEngine/Orc/Core.h>
#include <llvm/ExecutionEngine/Orc/ObjectFileInterface.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#include <llvm/ExecutionEngine/Orc/SelfExecutorProcessControl.h>
#include <llvm/ExecutionEngine/Orc/TaskDispatch.h>
#include <llvm/Support/MemoryBuffer.h>

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

/* Tells the load that is under way where a linked graph lies. */
class Reporter : public ObjectLinkingLayer::Plugin {
public:
  const orc_listener *listener = nullptr;

  void modifyPassConfig(MaterializationResponsibility &, jitlink::LinkGraph &, jitlink::PassConfiguration &passes) override {
    passes.PostFixupPasses.push_back([this](jitlink::LinkGraph &graph) {
      report(graph);
      return Error::success();
    });
  }
  Error notifyFailed(MaterializationResponsibility &) override { return Error::success(); }
  Error notifyRemovingResources(JITDylib &, ResourceKey) override { return Error::success(); }
  void notifyTransferringResources(JITDylib &, ResourceKey, ResourceKey) override {}

private:
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
  std::shared_ptr<Reporter> reporter = std::make_shared<Reporter>();
  uint64_t n_loaded = 0;

  explicit Session(std::unique_ptr<ExecutorProcessControl> control) : session(std::move(control)), layer(session) {
    session.setErrorReporter(consumeError); /* what failed a lookup comes with it, too */
    layer.addPlugin(reporter);
  }
};

/* Kept to the process's end: whoever ends it may still hold modules. */
Session &the_session() {
  static Session *const session = new Session(cantFail(SelfExecutorProcessControl::Create(
      std::make_shared<SymbolStringPool>(), std::make_unique<InPlaceTaskDispatcher>())));
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
  Error failure = load(s, dylib, objects, n);
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
