// A line in memory, as Boost.Beast wants its lines. For websocket_engine.cc alone.
#pragma once

// Executors of the kind that Beast 1.74 was written for: one such is a dozen lines (Turns, below).
#define BOOST_ASIO_USE_TS_EXECUTOR_AS_DEFAULT

#include <sys/uio.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core.hpp>
#include <cassert>
#include <cstddef>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

namespace ferry::beast {

namespace net = boost::asio;
using boost::system::error_code;

constexpr std::size_t k_most_pieces = 64;  // of memory, in one read

/// Beast's way to do something later: here, in its turn, within the same call of the engine.
using Queue = std::deque<std::move_only_function<void()>>;

class Turns {
 public:
  Turns(Queue& queue, net::io_context& context) noexcept : queue_(&queue), context_(&context) {}
  net::execution_context& context() const noexcept { return *context_; }
  void on_work_started() const noexcept {}
  void on_work_finished() const noexcept {}
  template <class F, class A>
  void dispatch(F&& call, const A&) const {
    queue_->emplace_back(std::forward<F>(call));
  }
  template <class F, class A>
  void post(F&& call, const A&) const {
    queue_->emplace_back(std::forward<F>(call));
  }
  template <class F, class A>
  void defer(F&& call, const A&) const {
    queue_->emplace_back(std::forward<F>(call));
  }
  friend bool operator==(const Turns& a, const Turns& b) noexcept { return a.queue_ == b.queue_; }
  friend bool operator!=(const Turns& a, const Turns& b) noexcept { return !(a == b); }

 private:
  Queue* queue_;
  net::io_context* context_;
};

/// The line as Beast sees it: a write is done at once, a read when something has arrived.
struct Memory {
  Queue queue;
  std::vector<std::byte> outgoing;
  std::vector<std::byte> early;  // has arrived, and nobody asked for it yet
  std::vector<iovec> pieces;     // where the read that waits wants its bytes
  std::move_only_function<void(error_code, std::size_t)> waiting;

  void take_turns() {
    while (!queue.empty()) {
      auto next = std::move(queue.front());
      queue.pop_front();
      next();
    }
  }
  void done_reading(std::size_t bytes) {
    queue.emplace_back([read = std::exchange(waiting, {}), bytes]() mutable { read({}, bytes); });
  }
  /// Gives the read that waits what was early.
  void hand_over() {
    std::size_t given = 0;
    for (const iovec& piece : pieces) {
      const std::size_t some = std::min(piece.iov_len, early.size() - given);
      std::copy_n(early.begin() + static_cast<std::ptrdiff_t>(given), some,
                  static_cast<std::byte*>(piece.iov_base));
      given += some;
    }
    early.erase(early.begin(), early.begin() + static_cast<std::ptrdiff_t>(given));
    done_reading(given);
  }
};

class Layer {
 public:
  using executor_type = Turns;
  Layer(Memory& memory, net::io_context& context) : memory_(&memory), context_(&context) {}
  executor_type get_executor() noexcept { return {memory_->queue, *context_}; }

  template <class Buffers, class Handler>
  void async_read_some(const Buffers& buffers, Handler&& handler) {
    assert(!memory_->waiting);
    memory_->pieces.clear();
    const auto end = net::buffer_sequence_end(buffers);
    for (auto at = net::buffer_sequence_begin(buffers); at != end; ++at) {
      const net::mutable_buffer piece(*at);
      if (piece.size() == 0) continue;
      if (memory_->pieces.size() == k_most_pieces) break;
      memory_->pieces.push_back({piece.data(), piece.size()});
    }
    memory_->waiting = std::forward<Handler>(handler);
    if (!memory_->early.empty()) memory_->hand_over();
  }

  template <class Buffers, class Handler>
  void async_write_some(const Buffers& buffers, Handler&& handler) {
    std::size_t bytes = 0;
    const auto end = net::buffer_sequence_end(buffers);
    for (auto at = net::buffer_sequence_begin(buffers); at != end; ++at) {
      const net::const_buffer piece(*at);
      const auto* const data = static_cast<const std::byte*>(piece.data());
      memory_->outgoing.insert(memory_->outgoing.end(), data, data + piece.size());
      bytes += piece.size();
    }
    memory_->queue.emplace_back(
        [written = std::forward<Handler>(handler), bytes]() mutable { written({}, bytes); });
  }

  /// The line is not Beast's to end.
  template <class Handler>
  friend void async_teardown(boost::beast::role_type, Layer& layer, Handler&& handler) {
    layer.memory_->queue.emplace_back(
        [torn_down = std::forward<Handler>(handler)]() mutable { torn_down(error_code()); });
  }
  friend void teardown(boost::beast::role_type, Layer&, error_code&) {}
  friend void beast_close_socket(Layer&) {}

 private:
  Memory* memory_;
  net::io_context* context_;
};

}  // namespace ferry::beast
