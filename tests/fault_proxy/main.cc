// fault-proxy: stands between migrate-send and migrate-recv, and does what a bad network does.
#include <cstdio>
#include <memory>
#include <span>
#include <stop_token>
#include <string>

#include "console/command_line.h"
#include "console/exit_code.h"
#include "console/process.h"
#include "ferry/ferry.h"
#include "tests/fault_proxy/proxy.h"

namespace ferry::test {
namespace {

const std::vector<OptionSpec> k_options = {
    {"listen", 'l', "URI", "where to listen (tcp://127.0.0.1:0)"},
    {"to", 't', "URI", "where the receiver listens"},
    {"faults", 'f', "LIST",
     "flip:CONNECTION:up|down:OFFSET:BIT, cut:C:D:O, stall:C:D:O, "
     "delay:C:D:O:MS, reorder:COUNT; with commas between them"},
    {"seed", 's', "N", "faults out of a seed, for two page channels of 512 KiB"},
    {"record", 'r', "FOLDER", "keep all bytes that were passed on, as N.up and N.down"},
    {"help", 'h', "", "this text"},
};

struct Command {
  Uri listen;
  FaultProxy::Options proxy;
};

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

Result<Command> command_of(const CommandLine& line, const Runtime& runtime) {
  if (!line.has("to")) return fail(Errc::usage, "no receiver given", "say --to URI");
  Command command;
  command.listen = FERRY_TRY(Uri::parse(line.text("listen").value_or("tcp://127.0.0.1:0")));
  command.proxy.to = FERRY_TRY(Uri::parse(*line.text("to")));
  command.proxy.transport = FERRY_TRY(runtime.transport(command.proxy.to.scheme));
  command.proxy.faults = FERRY_TRY(parse_faults(line.text("faults").value_or("")));
  command.proxy.record = line.text("record").value_or("");
  command.proxy.fired = [](const Fault& fault) { say("fired " + to_text(fault)); };
  if (const auto seed = FERRY_TRY(line.number("seed", 0, 1'000'000'000))) {
    command.proxy.faults = faults_of(*seed, 2, 512 * 1024);
  }
  return command;
}

Task<void> serve(EventLoop& loop, Transport& transport, Command command) {
  std::unique_ptr<Listener> listener = co_await transport.listen(loop, command.listen);
  say("listening on " + listener->local().text());
  FaultProxy proxy(loop, std::move(command.proxy));
  co_await proxy.serve(std::move(listener));
}

Result<void> run(std::span<const char* const> arguments) {
  const CommandLine line = FERRY_TRY(CommandLine::parse(arguments, k_options));
  if (line.has("help")) {
    say("usage: fault-proxy --to URI [options]\n" + options_text(k_options));
    return {};
  }
  const std::unique_ptr<Runtime> runtime = FERRY_TRY(make_runtime());
  const std::stop_source stop;
  stop_on_signal(runtime->loop(), stop);
  Command command = FERRY_TRY(command_of(line, *runtime));
  Transport& transport = *FERRY_TRY(runtime->transport(command.listen.scheme));
  return block_on(runtime->loop(), serve(runtime->loop(), transport, std::move(command)),
                  stop.get_token());
}

}  // namespace
}  // namespace ferry::test

int main(int argc, char** argv) {
  ferry::prepare_process();
  const auto done = ferry::test::run(std::span(argv, static_cast<std::size_t>(argc)).subspan(1));
  if (done) return 0;
  std::fprintf(stderr, "fault-proxy: %s\n", done.error().text().c_str());
  return static_cast<int>(ferry::exit_code(done.error()));
}
