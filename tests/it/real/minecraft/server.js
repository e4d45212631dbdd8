// Stands in for a Minecraft server: its network side is minecraft-protocol's own, its console, log and RCON behave as the real one's do.
// What the real server reads is in server.properties; how this one is to misbehave is in standin.json, which is read again at each use.
'use strict'
const fs = require('fs')
const net = require('net')
const readline = require('readline')
const minecraft = require('minecraft-protocol')

const VERSION = '1.20.1'
const properties = Object.fromEntries(fs.readFileSync('server.properties', 'utf8').split('\n').filter(Boolean).map(line => {
  const at = line.indexOf('=')
  return [line.slice(0, at), line.slice(at + 1)]
}))
const standin = () => JSON.parse(fs.readFileSync('standin.json', 'utf8'))
const sleep = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000))

// A new start begins a new log, as the real one does.
fs.mkdirSync('logs', { recursive: true })
if (fs.existsSync('logs/latest.log')) fs.renameSync('logs/latest.log', `logs/before-${process.pid}.log`)
const log = text => {
  const line = `[${new Date().toISOString().slice(11, 19)}] [Server thread/INFO] [net.minecraft.server.MinecraftServer/]: ${text}\n`
  fs.appendFileSync('logs/latest.log', line)
  process.stdout.write(line)
}
// The evidence: what came in, by which way, byte for byte.
const note = (way, text) => fs.appendFileSync('heard', JSON.stringify({ way, text }) + '\n')

const operators = new Set()
const KNOWN = /^(Keeb|Ann|Bob|Steve_1)$/

function operator (verb, name) {
  if (!KNOWN.test(name)) return ['That player does not exist']
  if (verb === 'op' && operators.has(name)) return ['Nothing changed. The player already is an operator']
  if (verb === 'deop' && !operators.has(name)) return ['Nothing changed. The player is not an operator']
  if (verb === 'op') operators.add(name)
  else operators.delete(name)
  return [verb === 'op' ? `Made ${name} a server operator` : `Made ${name} no longer a server operator`]
}

async function command (line) {
  const [verb, ...rest] = line.split(' ')
  const { players = [], unsaved = false, saveSeconds = 0 } = standin()
  switch (verb) {
    case 'list':
      return [`There are ${players.length} of a max of ${properties['max-players']} players online: ${players.join(', ')}`]
    case 'say':
      return [`[Not Secure] [Server] ${rest.join(' ')}`]
    case 'op':
    case 'deop':
      return operator(verb, rest.join(' '))
    case 'save-off':
      return ['Automatic saving is now disabled']
    case 'save-on':
      return ['Automatic saving is now enabled']
    case 'save-all':
      log('Saving the game (this may take a moment!)')
      if (unsaved) return []
      await sleep(saveSeconds)
      fs.appendFileSync('saves', 'saved\n')
      return ['Saved the game']
    case 'stop':
      setImmediate(stop)
      return ['Stopping the server']
    default:
      return ['Unknown or incomplete command, see below for error', `${line}<--[HERE]`]
  }
}

let stopping = false
async function stop () {
  if (standin().ignoresStop) return
  stopping = true
  log('Stopping server')
  log('Saving worlds')
  while (standin().stays) await sleep(0.2)
  log('ThreadedAnvilChunkStorage: All dimensions are saved')
  process.exit(0)
}

// One command after the other, however fast they are typed; none before the server has started.
let open
let queue = new Promise(resolve => { open = resolve })
readline.createInterface({ input: process.stdin, terminal: false }).on('line', line => {
  note('console', line)
  queue = queue.then(async () => {
    if (stopping || standin().silent) return
    for (const answer of await command(line)) log(answer)
  })
})

// RCON as vanilla has it: one packet a read, no more, no less; an answer in pieces of at most 4096 bytes and without an end.
function rcon () {
  const piece = (id, type, body) => {
    const bytes = Buffer.alloc(14 + body.length)
    bytes.writeInt32LE(10 + body.length, 0)
    bytes.writeInt32LE(id, 4)
    bytes.writeInt32LE(type, 8)
    body.copy(bytes, 12)
    return bytes
  }
  net.createServer(socket => {
    let known = false
    let answering = Promise.resolve()
    const answer = (id, text) => {
      let rest = Buffer.from(text, 'utf8')
      do {
        socket.write(piece(id, 0, rest.subarray(0, 4096)))
        rest = rest.subarray(4096)
      } while (rest.length > 0)
    }
    const take = async bytes => {
      const body = bytes.subarray(12, bytes.length - 2)
      const upset = bytes.length < 14 || bytes.readInt32LE(0) !== bytes.length - 4 || body.length > 1446 || bytes.readInt16LE(bytes.length - 2) !== 0
      if (upset) {
        note('upset', bytes.toString('hex'))
        return socket.destroy()
      }
      const [id, type, text] = [bytes.readInt32LE(4), bytes.readInt32LE(8), body.toString('utf8')]
      if (type === 3) {
        known = text === properties['rcon.password']
        return socket.write(piece(known ? id : -1, 2, Buffer.alloc(0)))
      }
      if (!known) return socket.write(piece(-1, 2, Buffer.alloc(0)))
      if (type !== 2) return answer(id, `Unknown request ${type.toString(16)}`)
      note('rcon', text)
      answer(id, (await command(text)).join(''))
    }
    socket.on('data', bytes => { answering = answering.then(() => take(bytes)) })
    socket.on('error', () => {})
  }).listen(Number(properties['rcon.port']), properties['server-ip'])
}

function ping (response, client, answer) {
  const { players = [], asleep = false } = standin()
  if (properties['enable-status'] === 'false') return answer(null, false)
  response.players.online = players.length
  if (properties['hide-online-players'] !== 'true') {
    const row = (name, at) => ({ name, id: `00000000-0000-0000-0000-${String(at).padStart(12, '0')}` })
    response.players.sample = players.slice(0, 12).map(row)
  }
  if (asleep) response.players = { max: 0, online: 0 }
  // A large pack's list of mods comes in many pieces.
  response.forgeData = { mods: Array.from({ length: 300 }, (_, at) => ({ modId: `mod_${at}`, modmarker: `1.${at}.0-rather-long-name` })) }
  answer(null, response)
}

async function main () {
  log(`Starting minecraft server version ${VERSION}`)
  await sleep(standin().startSeconds || 0)
  if (standin().fails) {
    log('**** FAILED TO BIND TO PORT!')
    process.exit(1)
  }
  const server = minecraft.createServer({
    'online-mode': false,
    host: properties['server-ip'],
    port: Number(properties['server-port']),
    'max-players': Number(properties['max-players']),
    version: VERSION,
    hideErrors: true,
    beforePing: ping
  })
  server.on('error', () => {})
  server.on('listening', () => {
    if (properties['enable-rcon'] === 'true') rcon()
    fs.writeFileSync('pid', String(process.pid))
    log('Done (3.142s)! For help, type "help"')
    open()
  })
}

main()
