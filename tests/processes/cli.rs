//! What a person or a script sees of the commands.

use std::process::Output;

use crate::harness::Cluster;

fn single() -> Cluster {
    let mut cluster = Cluster::new(1, "lan");
    cluster.start_all();
    cluster.await_whole();
    cluster
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn job_goes_through_its_life_by_commands_alone() {
    let cluster = single();
    let submitted = cluster.json(&["job", "submit", "hello", "--key", "order-1"]);
    let job = submitted[0]["job_id"].as_str().unwrap().to_owned();
    assert_eq!(submitted[0]["repeated"], false);
    let again = cluster.json(&["job", "submit", "hello", "--key", "order-1"]);
    assert_eq!(
        (&again[0]["job_id"], &again[0]["repeated"]),
        (&submitted[0]["job_id"], &true.into())
    );

    assert_eq!(cluster.json(&["job", "get", &job])["state"], "ready");
    assert_eq!(
        cluster.cli(&["job", "get", &job, "--payload"]).stdout,
        b"hello"
    );
    let listed = cluster.json(&["job", "list", "--state", "ready"]);
    assert_eq!(listed["jobs"][0]["job_id"], job.as_str());

    let early = cluster.cli(&["job", "wait", &job, "--for", "200ms"]);
    assert_eq!(code(&early), 9, "{early:?}");
    assert!(cluster.cli(&["job", "cancel", &job]).status.success());
    let ended = cluster.cli(&["job", "wait", &job]);
    assert_eq!(code(&ended), 8, "{ended:?}");
    assert_eq!(cluster.json(&["job", "get", &job])["state"], "cancelled");
}

#[test]
fn each_kind_of_refusal_has_its_exit_code_and_names_the_thing() {
    let cluster = single();
    let cases: [(&[&str], i32, &str); 7] = [
        (&["job", "submit", "x", "--queue", "nowhere"], 3, "nowhere"),
        (&["job", "get", "nonsense"], 5, "nonsense"),
        (
            &["job", "get", "0000-000000000000000000000000"],
            3,
            "0000-000000000000000000000000",
        ),
        (&["queue", "get", "nowhere"], 3, "nowhere"),
        (&["queue", "create", "slow", "--lease", "1ms"], 5, "lease"),
        (&["queue", "create", "BAD"], 5, "a-z"),
        (
            &["dlq", "redrive", "0000-000000000000000000000000"],
            3,
            "not known",
        ),
    ];
    for (arguments, expected, named) in cases {
        let output = cluster.cli(arguments);
        assert_eq!(code(&output), expected, "{arguments:?}: {output:?}");
        assert!(
            said(&output).contains(named),
            "{arguments:?}: {}",
            said(&output)
        );
    }
    cluster.json(&["job", "submit", "one", "--key", "k"]);
    let reused = cluster.cli(&["job", "submit", "other", "--key", "k"]);
    assert_eq!(code(&reused), 4, "{reused:?}");
    let empty = cluster.cli(&["job", "submit", "x", "--key", ""]);
    assert_eq!(code(&empty), 2, "{empty:?}");
}

#[test]
fn of_several_files_the_one_that_does_not_fit_is_named_and_the_others_go_in() {
    let cluster = single();
    let path = |name: &str| cluster.root.path().join(name).display().to_string();
    std::fs::write(path("fits"), "x").unwrap();
    std::fs::write(path("large"), vec![b'x'; 65_537]).unwrap();
    let (fits, large) = (path("fits"), path("large"));
    let output = cluster.cli(&["job", "submit", "--json", "--file", &fits, "--file", &large]);
    assert_eq!(code(&output), 5, "{output:?}");
    assert!(said(&output).contains(&large), "{}", said(&output));
    let results: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(results[0]["job_id"].is_string() && results[0]["file"] == fits.as_str());
    assert!(results[1]["error"].is_string() && results[1]["job_id"].is_null());
}

#[test]
fn nobody_to_talk_to_is_certainly_not_done() {
    let cluster = Cluster::new(1, "lan");
    let output = cluster.cli(&["job", "submit", "x", "--timeout", "1s"]);
    assert_eq!(code(&output), 6, "{output:?}");
    assert!(
        said(&output).contains(&cluster.nodes[0].client),
        "{}",
        said(&output)
    );
}

#[test]
fn queue_is_made_changed_and_shown() {
    let cluster = single();
    let made = cluster.json(&[
        "queue",
        "create",
        "chat",
        "--lease",
        "10s",
        "--max-attempts",
        "2",
    ]);
    assert_eq!(made["policy"]["lease_ms"], 10_000);
    let set = cluster.json(&["queue", "set", "chat", "--lease", "20s"]);
    assert_eq!(
        (&set["policy"]["lease_ms"], &set["policy"]["max_attempts"]),
        (&20_000.into(), &2.into())
    );
    let names = cluster.json(&["queue", "list"]);
    let names: Vec<_> = names
        .as_array()
        .unwrap()
        .iter()
        .map(|queue| queue["name"].clone())
        .collect();
    assert_eq!(names, ["chat", "default"]);
    let status = cluster.json(&["cluster", "status"]);
    assert_eq!(status["regions"][0]["name"], "eu");
}
