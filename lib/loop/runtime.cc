#include "ferry/runtime.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/escape.h"
#include "loop/thread.h"

namespace ferry {

Result<std::unique_ptr<Runtime>> Runtime::create() {
  std::unique_ptr<Runtime> runtime(new Runtime(FERRY_TRY(EventLoop::create())));
  runtime->thread_ =
      FERRY_TRY(start_thread("ferry-loop", [loop = runtime->loop_.get()] { loop->run(); }));
  return runtime;
}

Runtime::Runtime(std::unique_ptr<EventLoop> loop) : loop_(std::move(loop)) {}

// The loop drops its Tasks before the transports go, which those may use.
Runtime::~Runtime() {
  if (!thread_.joinable()) return;
  loop_->stop();
  thread_.join();
}

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

}  // namespace ferry
