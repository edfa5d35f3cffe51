//! A call inside a call carries both marks. The only test of its process, whose own limit it sets.

#[cfg(test)]
mod of_this_process {
    use std::sync::Arc;

    use phi_tools::{Registry, Workspace};
    use phi_types::{Content, EffectId, LoopId, RawJson, SessionId, ToolContext};
    use rustix::process::{Resource, Rlimit, setrlimit};
    use serde_json::json;

    #[tokio::test]
    async fn soft_and_hard() {
        // As the mark of an outer call sets it for all that the call starts.
        let outer = (1_u64 << 62) + 4711;
        let mark = Rlimit {
            current: Some(outer),
            maximum: Some(outer),
        };
        setrlimit(Resource::Rttime, mark).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::open(folder.path()).unwrap();
        let tool = Registry::built_in().make("bash", &workspace).unwrap();
        let effect = EffectId {
            loop_id: LoopId::new("s.c.1").unwrap(),
            seq: 1,
        };
        let context = ToolContext::new(SessionId::new("s").unwrap(), effect, Arc::new(()));
        let command = "setsid sh -c 'echo $$ > pid; exec sleep 1000' >/dev/null 2>&1 &
            while ! test -s pid; do :; done; grep realtime.timeout /proc/self/limits; cat pid";
        let arguments = RawJson::from_value(&json!({"command": command})).unwrap();
        let result = tool.call(arguments, context).await;
        let Some(Content::Text { text }) = result.content.first() else {
            panic!("no text")
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [_, _, _, soft, hard, "us", pid, ..] = words.as_slice() else {
            panic!("{text}")
        };
        assert_eq!(*hard, outer.to_string());
        assert!(soft.parse::<u64>().unwrap() < outer);
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ended = stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ");
        assert!(ended, "{stat}");
    }
}
