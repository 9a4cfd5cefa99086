//! What a run prints: a table for people or JSON for programs, and how to repeat a failure.

use comfy_table::{ContentArrangement, Table, presets};

use crate::args::RunArgs;
use crate::run::{Broken, Outcome};
use crate::tally::Tally;

/// Violations that are printed; the rest is counted.
const SHOWN: usize = 20;

pub(crate) fn print(arguments: &RunArgs, outcome: &Outcome) -> anyhow::Result<()> {
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&outcome.tally)?),
        false => println!("{}\n{}", deaths(&outcome.tally), sums(&outcome.tally)),
    }
    if let Some(broken) = &outcome.broken {
        eprint!("{}", failure(arguments, broken));
    }
    Ok(())
}

fn table(headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headers.iter().copied());
    for row in rows {
        table.add_row(row);
    }
    let text = table.to_string();
    let lines = text.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

fn deaths(tally: &Tally) -> String {
    let rows = tally.deaths.iter().map(|(how, deaths)| {
        let counts = [deaths.kill, deaths.power, deaths.missed].map(|count| count.to_string());
        [vec![(*how).to_owned()], counts.to_vec()].concat()
    });
    table(&["PROCESSES DIED", "KILLED", "POWER LOST", "NOT MET"], rows)
}

fn sums(tally: &Tally) -> String {
    let rows = [
        ("crashes survived", u64::from(tally.kills)),
        ("processes killed", tally.processes_killed),
        ("clusters", u64::from(tally.clusters)),
        ("restarts", tally.restarts),
        ("submits acknowledged", tally.acknowledged_submits),
        ("completions acknowledged", tally.acknowledged_completions),
        ("submits with unknown outcome", tally.unknown),
        ("submits certainly not done", tally.certainly_not_done),
        ("jobs looked at between crashes", tally.looks),
        ("LOST", tally.lost),
        ("DOUBLED", tally.doubled),
        ("other violations", tally.other_violations),
        ("recovery, ms, p50", tally.recovery_ms_p50),
        ("recovery, ms, max", tally.recovery_ms_max),
        ("seconds", tally.seconds),
    ];
    let rows = rows.map(|(what, count)| vec![what.to_owned(), count.to_string()]);
    table(&["SUM", ""], rows)
}

fn failure(arguments: &RunArgs, broken: &Broken) -> String {
    let mut text = format!(
        "\nBROKEN after crash {} of seed {}: {}\n",
        broken.kill, arguments.seed, broken.how
    );
    let violations = &broken.found.violations;
    for violation in violations.iter().take(SHOWN) {
        text.push_str(&format!("  {violation}\n"));
    }
    if violations.len() > SHOWN {
        text.push_str("  and more, which the sums count\n");
    }
    let given: Vec<String> = std::env::args().skip(1).collect();
    text.push_str(&format!(
        "again: cargo run --release -p leasehold-crashes -- {}\ndata and logs: {}\n",
        given.join(" "),
        broken.folder.display()
    ));
    text
}
