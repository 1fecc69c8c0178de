#include "channels/file.h"

#include <filesystem>
#include <optional>
#include <utility>

#include "channels/file_place.h"

namespace ferry {
namespace {

class FileTransport final : public Transport, private Places {
 public:
  explicit FileTransport(FileOptions options) : options_(options) {}

  std::string_view scheme() const noexcept override { return "file"; }
  std::optional<TransportAbilities> abilities() const noexcept override {
    return TransportAbilities{.placed_writes = true};
  }
  Places* places() noexcept override { return this; }

  Task<std::unique_ptr<Channel>> connect(EventLoop&, Uri to) override {
    co_return co_await no_peer<std::unique_ptr<Channel>>(to);
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop&, Uri at) override {
    co_return co_await no_peer<std::unique_ptr<Listener>>(at);
  }

 private:
  template <class T>
  static Result<T> no_peer(const Uri& uri) {
    return fail(Errc::unsupported, "reach " + uri.shown() + ": a file is no peer");
  }

  Result<std::unique_ptr<NewPlace>> create(const Uri& at, std::uint64_t length) override {
    return create_file_place(at.path, length, options_);
  }
  Result<std::unique_ptr<Place>> open(const Uri& at) override {
    return open_file_place(at.path, options_);
  }

  const FileOptions options_;
};

}  // namespace

std::unique_ptr<Transport> make_file_transport(FileOptions options) {
  return std::make_unique<FileTransport>(options);
}

}  // namespace ferry
