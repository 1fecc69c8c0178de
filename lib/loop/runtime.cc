#include "ferry/runtime.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/escape.h"

namespace ferry {

Result<std::unique_ptr<Runtime>> Runtime::create(const RuntimeOptions& options) {
  if (options.loop) return std::unique_ptr<Runtime>(new Runtime(nullptr, *options.loop));
  auto thread = FERRY_TRY(IoThread::create("ferry-loop", options.poller));
  EventLoop& loop = thread->loop();
  return std::unique_ptr<Runtime>(new Runtime(std::move(thread), loop));
}

Runtime::Runtime(std::unique_ptr<IoThread> thread, EventLoop& loop)
    : thread_(std::move(thread)), loop_(loop) {}

Runtime::~Runtime() = default;

void Runtime::add(std::unique_ptr<Transport> transport) {
  const auto same = std::ranges::find(transports_, transport->scheme(),
                                      [](const auto& known) { return known->scheme(); });
  if (same != transports_.end()) {
    *same = std::move(transport);
  } else {
    transports_.push_back(std::move(transport));
  }
}

Result<Transport*> Runtime::transport(std::string_view scheme) const {
  std::vector<std::string_view> known;
  for (const auto& transport : transports_) {
    if (transport->scheme() == scheme) return transport.get();
    known.push_back(transport->scheme());
  }
  std::ranges::sort(known);
  std::string list;
  for (std::string_view name : known) list += (list.empty() ? "" : ", ") + std::string(name);
  return fail(Errc::usage, "unknown scheme " + in_quotes(scheme),
              "this build speaks: " + (list.empty() ? "nothing" : list));
}

std::vector<const Transport*> Runtime::transports() const {
  std::vector<const Transport*> all;
  for (const auto& transport : transports_) all.push_back(transport.get());
  return all;
}

}  // namespace ferry
