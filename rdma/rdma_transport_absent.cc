#include "rdma/rdma_transport.h"

#include <optional>
#include <string>
#include <utility>

namespace ferry {
namespace {

template <class T>
Task<std::unique_ptr<T>> absent(std::string act) {
  co_return fail(Errc::unreachable, std::move(act) + ": this build has no RDMA");
}

class RdmaTransport final : public Transport {
 public:
  std::string_view scheme() const noexcept override { return "rdma"; }
  std::optional<TransportAbilities> abilities() const noexcept override { return std::nullopt; }
  Task<std::unique_ptr<Channel>> connect(EventLoop&, Uri to) override {
    return absent<Channel>("connect " + to.text());
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop&, Uri at) override {
    return absent<Listener>("listen on " + at.text());
  }
};

}  // namespace

std::unique_ptr<Transport> make_rdma_transport(const RdmaOptions&) {
  return std::make_unique<RdmaTransport>();
}

}  // namespace ferry
