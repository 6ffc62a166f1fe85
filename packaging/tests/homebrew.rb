# Installs a formula as Homebrew would, for a system and a processor: FORMULA SYSTEM PROCESSOR DOWNLOADS PREFIX.
# It knows only what our formula uses, and takes the archive from a directory.
require "digest"
require "fileutils"
require "pathname"
require "tmpdir"

FORMULA, SYSTEM, PROCESSOR, DOWNLOADS, PREFIX = ARGV

# A directory of the installation.
class Place < Pathname
  def install(*sources)
    FileUtils.mkdir_p(self)
    sources.flatten.each do |source|
      if source.is_a?(Hash)
        source.each { |from, to| FileUtils.cp(from, join(to)) }
      else
        FileUtils.cp(source, self)
      end
    end
  end
end

class Formula
  class << self
    attr_reader :description, :archive, :sum, :check

    def desc(text) = @description = text
    def homepage(text); end
    def license(text); end
    def version(text) = define_method(:version) { text }
    def test(&block) = @check = block
    def url(text) = @archive = File.basename(text)
    def sha256(text) = @sum = text

    %w[linux macos].each { |system| define_method("on_#{system}") { |&block| block.call if system == SYSTEM } }
    %w[intel arm].each { |processor| define_method("on_#{processor}") { |&block| block.call if processor == PROCESSOR } }
  end

  def prefix = Place.new(PREFIX)
  def bin = Place.new("#{PREFIX}/bin")
  def man1 = Place.new("#{PREFIX}/share/man/man1")
  def bash_completion = Place.new("#{PREFIX}/etc/bash_completion.d")
  def zsh_completion = Place.new("#{PREFIX}/share/zsh/site-functions")
  def fish_completion = Place.new("#{PREFIX}/share/fish/vendor_completions.d")
  def shell_output(command) = `#{command}`
  def assert_match(expected, found) = found.include?(expected) || raise("#{found.inspect} does not contain #{expected.inspect}")
end

require File.expand_path(FORMULA)
formula = ObjectSpace.each_object(Class).find { |found| found < Formula }

raise "the description is too long" if formula.description.length > 80
archive = File.join(DOWNLOADS, formula.archive)
raise "wrong checksum" unless Digest::SHA256.file(archive).hexdigest == formula.sum

Dir.mktmpdir do |scratch|
  system("tar", "-xzf", archive, "-C", scratch, exception: true)
  # Homebrew enters the only directory of an archive.
  Dir.chdir(Dir[File.join(scratch, "*")].first) { formula.new.install }
end
formula.new.instance_exec(&formula.check)
