//! A gigabyte of output is read in constant memory. The only test of its process, whose peak it reads.

#[cfg(test)]
mod of_this_process {
    use std::sync::Arc;

    use phi_tools::{Registry, Workspace};
    use phi_types::{Content, EffectId, LoopId, RawJson, SessionId, ToolContext, ToolResult};
    use serde_json::{Value, json};

    /// The largest resident set of this process so far, in KiB.
    fn peak_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.unwrap()
            .trim_end_matches(" kB")
            .trim()
            .parse()
            .unwrap()
    }

    async fn run(workspace: &Workspace, command: &str) -> (String, Value) {
        let tool = Registry::built_in().make("bash", workspace).unwrap();
        let effect = EffectId {
            loop_id: LoopId::new("s.c.1").unwrap(),
            seq: 1,
        };
        let context = ToolContext::new(SessionId::new("s").unwrap(), effect, Arc::new(()));
        let arguments = RawJson::from_value(&json!({"command": command})).unwrap();
        let ToolResult {
            content, details, ..
        } = tool.call(arguments, context).await;
        let Some(Content::Text { text }) = content.into_iter().next() else {
            panic!("no text")
        };
        (text, details.unwrap().read().unwrap())
    }

    #[tokio::test]
    async fn a_gigabyte_costs_no_more_than_the_cap_and_16_mib() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        run(&workspace, "echo warm").await;
        let before = peak_kib();
        let command = "echo first; yes 'a line of output' | head -c 1000000000; echo; echo last";
        let (text, details) = run(&workspace, command).await;
        let grown = peak_kib() - before;
        assert_eq!(details["output_bytes"], 1_000_000_012_u64);
        assert!(text.starts_with("first\na line of output\n"));
        assert!(text.ends_with("\nlast\n"));
        let cap = workspace.policy().output_bytes_max;
        assert!(text.len() <= cap + 64, "{}", text.len());
        assert!(
            grown * 1024 < (cap + 16 * 1024 * 1024) as u64,
            "{grown} KiB"
        );
    }
}
