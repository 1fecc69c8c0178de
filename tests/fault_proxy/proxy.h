// A network that does what it is told to do wrong.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "ferry/event_loop.h"
#include "ferry/transport.h"
#include "loop/task_group.h"
#include "tests/fault_proxy/fault.h"

namespace ferry::test {

/// Passes every connection on to `to`, both ways, with faults. Used on the loop's thread alone, but
/// for construction.
class FaultProxy {
 public:
  struct Options {
    Transport* transport = nullptr;  ///< that reaches `to`
    Uri to;
    std::vector<Fault> faults;
    std::string record;  ///< a folder for all bytes that were passed on; empty: none
    std::function<void(const Fault&)> fired;
  };

  FaultProxy(EventLoop& loop, Options options);

  /// Until it is dropped, or accepting fails.
  Task<void> serve(std::unique_ptr<Listener> listener);

 private:
  struct Line;
  struct Flow;

  Task<void> gather(Listener& listener, unsigned count);
  Task<void> join(std::unique_ptr<Channel> client);
  Task<void> pass(std::shared_ptr<Line> line, Direction direction);
  Task<void> pass_piece(Flow& flow, std::vector<std::byte> piece);
  Task<void> strike(Flow& flow, Fault fault);
  Task<void> write(Flow& flow, std::vector<std::byte> bytes);

  EventLoop& loop_;
  const Options options_;
  std::vector<std::unique_ptr<Channel>> gathered_;  // accepted, not joined on
  unsigned accepted_ = 0;
  TaskGroup flows_;
};

}  // namespace ferry::test
