class @class@ < Formula
  desc "@summary@"
  homepage "@repository@"
  version "@version@"
  license "@license@"

@systems@

  def install
    bin.install "@program@"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/@program@.bash" => "@program@"
    fish_completion.install "completions/@program@.fish"
    zsh_completion.install "completions/_@program@"
    prefix.install "THIRD_PARTY_LICENSES"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/@program@ --version")
  end
end
