//! How much the cache of an engine holds, as vLLM says it of itself among its metrics.

/// What says it.
const CONFIG: &str = "vllm:cache_config_info{";

/// How many tokens a server holds, all engines of it together; nothing where its page does not say.
pub(super) fn tokens(page: &str) -> Option<u64> {
    let configs = page.lines().filter_map(|line| line.strip_prefix(CONFIG));
    let each = configs.map(|labels| {
        let size = number(labels, "block_size=\"")?;
        number(labels, "num_gpu_blocks=\"")?.checked_mul(size)
    });
    let all = each.sum::<Option<u64>>()?;
    (all > 0).then_some(all)
}

fn number(labels: &str, name: &str) -> Option<u64> {
    let mut found = labels.match_indices(name);
    let begins = |at: usize| at == 0 || labels[..at].ends_with(',');
    let (at, _) = found.find(|(at, _)| begins(*at))?;
    labels[at + name.len()..].split('"').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_has_so_many_blocks_of_so_many_tokens() {
        let page =
            |labels: &str| format!("# TYPE x gauge\nvllm:cache_config_info{{{labels}}} 1.0\n");
        let one =
            page(r#"block_size="16",engine="0",num_gpu_blocks="1000",num_gpu_blocks_override="7""#);
        assert_eq!(tokens(&one), Some(16_000));
        assert_eq!(tokens(&(one.clone() + &one)), Some(32_000), "two engines");
        let behind = page(r#"hash_block_size="3",num_gpu_blocks="10",block_size="16""#);
        assert_eq!(tokens(&behind), Some(160));
        for unsaid in [
            "",
            "vllm:num_requests_running 1\n",
            &page(r#"block_size="16",num_gpu_blocks="None""#),
            &page(r#"block_size="16",num_gpu_blocks="0""#),
            &page(r#"num_gpu_blocks="10""#),
        ] {
            assert_eq!(tokens(unsaid), None, "{unsaid}");
        }
    }
}
