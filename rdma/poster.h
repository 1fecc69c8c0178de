// Requests that are posted by a thread of their own.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "ferry/result.h"
#include "rdma/verbs.h"

namespace ferry {

/// Posts requests of one queue pair in a thread of its own, in the order in which they come. For a
/// device that is software and works in the thread that posts: for as long as it writes a page, the
/// lane could not look at the next one.
class Poster {
 public:
  /// `pair` outlives this. `failed` hears of the first failure, in the thread; nothing is posted
  /// behind it. Errc::system.
  static Result<std::unique_ptr<Poster>> start(QueuePair& pair, std::function<void(Error)> failed);
  /// Drops what is not posted yet, and waits for the thread.
  ~Poster();
  Poster(const Poster&) = delete;
  Poster& operator=(const Poster&) = delete;

  /// Thread-safe, never blocks. There is room: whoever asks counts what is under way.
  void post(std::span<const SendRequest> requests);

 private:
  Poster(QueuePair& pair, std::function<void(Error)> failed);
  void loop();

  QueuePair& pair_;
  const std::function<void(Error)> failed_;

  std::mutex mutex_;  // guards the next two
  std::vector<SendRequest> waiting_;
  bool over_ = false;
  std::condition_variable changed_;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace ferry
