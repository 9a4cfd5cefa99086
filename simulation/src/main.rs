//! One seed of one scenario: prints what happened and a number that stands for all of it.

use std::process::ExitCode;

use clap::Parser;
use leasehold_simulation::scenarios::leader_cut_off;

/// Runs one scenario under one seed. The same seed prints the same trace, on any machine.
#[derive(Debug, Parser)]
struct Arguments {
    /// Everything random comes from it.
    #[arg(long)]
    seed: u64,
    /// Print the whole trace, not only its last line and its hash.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match leader_cut_off::run(arguments.seed) {
        Ok(trace) => {
            let lines = trace.lines();
            let shown = if arguments.trace {
                0
            } else {
                lines.len().saturating_sub(1)
            };
            lines[shown..].iter().for_each(|line| println!("{line}"));
            println!("{} events, trace {:016x}", lines.len(), trace.hash());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            eprintln!(
                "again: cargo run -p leasehold-simulation -- --seed {} --trace",
                arguments.seed
            );
            ExitCode::FAILURE
        }
    }
}
