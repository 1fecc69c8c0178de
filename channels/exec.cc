#include "channels/exec.h"

#include <utility>

#include "channels/command_channel.h"
#include "channels/only_channel.h"

namespace ferry {
namespace {

// Starting a shell is as quick as a fork: it is done on the loop.

Task<std::unique_ptr<Channel>> run_command(Uri uri) {
  std::unique_ptr<Channel> channel = co_await CommandChannel::start(uri.path);
  co_return std::move(channel);
}

class ExecTransport final : public Transport {
 public:
  std::string_view scheme() const noexcept override { return "exec"; }
  Lines lines() const noexcept override { return Lines::one; }
  Task<std::unique_ptr<Channel>> connect(EventLoop&, Uri to) override {
    return run_command(std::move(to));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop&, Uri at) override {
    std::unique_ptr<Channel> channel = co_await run_command(at);
    co_return std::make_unique<OnlyChannel>(std::move(channel), std::move(at));
  }
};

}  // namespace

std::unique_ptr<Transport> make_exec_transport() { return std::make_unique<ExecTransport>(); }

}  // namespace ferry
